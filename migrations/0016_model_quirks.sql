-- What is peculiar to a model's way of talking.

-- JSON: the client's names of tools, and the model's; NULL where they are the same.
ALTER TABLE models ADD COLUMN tool_name_map TEXT;
-- Whether its thoughts and calls of tools come as Gemma 4's tokens.
ALTER TABLE models ADD COLUMN gemma4_output INTEGER NOT NULL DEFAULT 0;
