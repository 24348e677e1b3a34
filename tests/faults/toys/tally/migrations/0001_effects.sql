-- No key on the id: what happens twice must be seen twice.
CREATE TABLE effect (
    n bigserial PRIMARY KEY,
    part int NOT NULL,
    at bigint NOT NULL,
    epoch bigint NOT NULL,
    id text NOT NULL,
    member text NOT NULL,
    t timestamptz NOT NULL DEFAULT clock_timestamp()
);
