-- Times are microseconds since the epoch: they are compared and subtracted in arrays, never shown from here.
-- `arrived_us` is the event time at which a row counts: its own, or the watermark's where it came too late for that.

CREATE TABLE prediction (
    model text NOT NULL,
    prediction_id text NOT NULL,
    version text NOT NULL,
    variant text NOT NULL,
    stream text NOT NULL,
    time_us bigint NOT NULL,
    arrived_us bigint NOT NULL,
    score double precision NOT NULL,
    entity text,
    slices text NOT NULL,
    PRIMARY KEY (model, prediction_id, version, variant)
);
CREATE INDEX prediction_time ON prediction (model, time_us);
-- Only these can complete a pair after their outcome: almost none, so the index costs nothing.
CREATE INDEX prediction_late ON prediction (model, arrived_us) WHERE arrived_us > time_us;

CREATE TABLE outcome (
    model text NOT NULL,
    -- The prediction's, or made of entity and time where the producer knows no id.
    prediction_id text NOT NULL,
    stream text NOT NULL,
    event_id text NOT NULL,
    entity text,
    prediction_us bigint NOT NULL,
    observed_us bigint NOT NULL,
    arrived_us bigint NOT NULL,
    value double precision NOT NULL,
    revision integer NOT NULL,
    PRIMARY KEY (model, prediction_id)
);
CREATE INDEX outcome_arrived ON outcome (model, arrived_us);
CREATE INDEX outcome_entity ON outcome (model, entity, prediction_us) WHERE entity IS NOT NULL;

-- Apart, so that a window which was closed before a correction came is found as it was.
CREATE TABLE correction (
    model text NOT NULL,
    prediction_id text NOT NULL,
    revision integer NOT NULL,
    arrived_us bigint NOT NULL,
    value double precision NOT NULL,
    PRIMARY KEY (model, prediction_id, revision)
);

CREATE TABLE model_state (
    model text PRIMARY KEY,
    state json NOT NULL
);

CREATE TABLE deployment (
    model text PRIMARY KEY,
    event json NOT NULL
);

CREATE TABLE waiting_command (
    event_id text PRIMARY KEY,
    model text NOT NULL,
    came bigint GENERATED ALWAYS AS IDENTITY,
    event json NOT NULL
);

-- The thousand predictions that a stream is in the midst of, of the version that answers.
CREATE TABLE block (
    model text NOT NULL,
    stream text NOT NULL,
    version text NOT NULL,
    block json NOT NULL,
    checks bytea,
    PRIMARY KEY (model, stream)
);

-- Features by window, in the bins of the version's training rows.
CREATE TABLE tally (
    model text NOT NULL,
    version text NOT NULL,
    close_us bigint NOT NULL,
    counts json NOT NULL,
    PRIMARY KEY (model, version, close_us)
);

-- What features were like in training, by the digest of the artifact.
CREATE TABLE reference (
    digest text PRIMARY KEY,
    document json NOT NULL
);
