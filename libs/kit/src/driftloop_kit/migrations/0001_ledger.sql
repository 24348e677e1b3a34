-- json, not jsonb, where strangers' characters come in: jsonb has no NUL.

-- Offsets, inbox, outbox and jobs: beside a service's effects, so that all become true together.

CREATE TABLE consumer_offset (
    grp text NOT NULL,
    topic text NOT NULL,
    part integer NOT NULL,
    next_offset bigint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (grp, topic, part)
);

-- Not partitioned: a unique key would have to hold the partition column, and an id would be accepted once per partition.
CREATE TABLE inbox (
    event_id text PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX inbox_seen_at ON inbox (seen_at);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    part integer,
    key bytea,
    value bytea NOT NULL,
    headers json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    acked_part integer,
    acked_offset bigint
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_acked ON outbox (topic, acked_part, acked_offset) WHERE published_at IS NOT NULL;
CREATE INDEX outbox_published_at ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE job (
    id text PRIMARY KEY,
    kind text NOT NULL,
    payload json NOT NULL,
    cause json,
    created_at timestamptz NOT NULL DEFAULT now(),
    attempt integer NOT NULL DEFAULT 0,
    lease uuid,
    -- Nobody may lease it before.
    free_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome json
);
CREATE INDEX job_waiting ON job (kind, created_at) WHERE ended_at IS NULL;
