-- JSON is kept as `json`, not `jsonb`: the order of a model's features is part of the model, and jsonb has no NUL.

-- The newest values of each entity. A late observation never overwrites a newer one: the greater
-- (time, revision, event_id) wins, in any order of arrival.
CREATE TABLE online (
    view text NOT NULL,
    entity text NOT NULL,
    values json NOT NULL,
    time timestamptz NOT NULL,
    revision integer NOT NULL,
    event_id text NOT NULL,
    PRIMARY KEY (view, entity)
);

CREATE TABLE view_declaration (
    view text PRIMARY KEY,
    document json NOT NULL
);

CREATE TABLE model_declaration (
    model text PRIMARY KEY,
    digest text NOT NULL,
    document json NOT NULL
);
