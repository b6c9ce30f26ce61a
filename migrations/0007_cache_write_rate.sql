-- Some providers charge more for a prompt that they write to their cache.

ALTER TABLE models ADD COLUMN cache_write_rate INTEGER;
