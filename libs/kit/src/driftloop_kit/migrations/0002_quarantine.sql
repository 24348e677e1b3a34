-- What a partition's owners left behind, so that a record that kills its readers is found out.

ALTER TABLE consumer_offset
    -- Where the partition stood when it was last claimed, and how many owners in a row found it there.
    ADD COLUMN claimed_at bigint NOT NULL DEFAULT -1,
    ADD COLUMN claims integer NOT NULL DEFAULT 0,
    -- The record that was begun alone, and how often.
    ADD COLUMN begun_at bigint,
    ADD COLUMN begun integer NOT NULL DEFAULT 0;
