-- What a model does, and the price of what is not counted in tokens.

-- `chat`, `embedding`, `image`, `speech`, `transcription` or `video`.
ALTER TABLE models ADD COLUMN kind TEXT NOT NULL DEFAULT 'chat';
-- Pico-dollars per unit (an image, a million characters, a minute, a second); NULL until somebody has said.
ALTER TABLE models ADD COLUMN unit_rate INTEGER;
