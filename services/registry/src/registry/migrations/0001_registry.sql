-- What exists and what may serve. JSON is kept as `json`, not `jsonb`: the order of a model's features is part of the model.

CREATE TABLE declaration (
    name text PRIMARY KEY,
    digest text NOT NULL,
    document json NOT NULL,
    applied_by text NOT NULL,
    retired boolean NOT NULL DEFAULT false
);

CREATE TABLE deployment (
    model text PRIMARY KEY,
    revision integer NOT NULL DEFAULT 0,
    champion text,
    champion_since timestamptz,
    champion_event text,
    challenger text,
    challenger_since timestamptz,
    looks timestamptz[] NOT NULL DEFAULT '{}',
    evidence text[] NOT NULL DEFAULT '{}',
    previous text,
    previous_since timestamptz,
    previous_shadow_until timestamptz,
    ceiling text,
    frozen boolean NOT NULL DEFAULT false
);

-- MLflow's registered models and versions; a version that a training made carries its candidate.
CREATE TABLE registered_model (
    name text PRIMARY KEY,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    description text,
    last_version integer NOT NULL DEFAULT 0
);

CREATE TABLE registered_model_tag (
    name text NOT NULL REFERENCES registered_model ON UPDATE CASCADE ON DELETE CASCADE,
    key text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (name, key)
);

CREATE TABLE model_version (
    name text NOT NULL REFERENCES registered_model ON UPDATE CASCADE ON DELETE CASCADE,
    version integer NOT NULL,
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    description text NOT NULL DEFAULT '',
    source text NOT NULL,
    run_id text NOT NULL DEFAULT '',
    run_link text NOT NULL DEFAULT '',
    model_id text,
    stage text NOT NULL DEFAULT 'None',
    candidate_id text UNIQUE,
    candidate json,
    PRIMARY KEY (name, version)
);

CREATE TABLE model_version_tag (
    name text NOT NULL,
    version integer NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (name, version, key),
    FOREIGN KEY (name, version) REFERENCES model_version ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE model_alias (
    name text NOT NULL,
    alias text NOT NULL,
    version integer NOT NULL,
    PRIMARY KEY (name, alias),
    FOREIGN KEY (name, version) REFERENCES model_version ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX model_alias_version ON model_alias (name, version);

-- Every control event, whole: "why is this model live?", months later.
CREATE TABLE chain (
    id text PRIMARY KEY,
    causation text,
    correlation text,
    time timestamptz NOT NULL,
    type text NOT NULL,
    topic text NOT NULL,
    model text NOT NULL,
    incident text,
    data json NOT NULL
);
CREATE INDEX chain_model_time ON chain (model, time DESC, id DESC);
CREATE INDEX chain_incident ON chain (incident, time) WHERE type = 'driftloop.drift.detected.v1';

CREATE TABLE audit (
    about text NOT NULL,
    sequence integer NOT NULL,
    digest text NOT NULL,
    event_id text NOT NULL,
    record json NOT NULL,
    PRIMARY KEY (about, sequence)
);
