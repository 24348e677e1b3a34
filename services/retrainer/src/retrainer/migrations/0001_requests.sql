-- JSON is kept as `json`, not `jsonb`: the order of a model's features is part of the model, and jsonb has no NUL.

-- A model's declaration and deployment as last heard: the training needs both, and they arrive in any order.
CREATE TABLE declaration (
    model text PRIMARY KEY,
    digest text NOT NULL,
    document json NOT NULL
);

CREATE TABLE deployment (
    model text PRIMARY KEY,
    revision bigint NOT NULL,
    state json NOT NULL
);

-- One row a RetrainRequested event, by its id: twice delivered is one request.
CREATE TABLE request (
    id text PRIMARY KEY,
    model text NOT NULL,
    time timestamptz NOT NULL,
    correlation text NOT NULL,
    tenant text NOT NULL,
    data json NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'gathering', 'training', 'trained', 'failed'))
);
CREATE INDEX request_waiting ON request (model) WHERE state = 'waiting';
CREATE INDEX request_gathering ON request (id) WHERE state = 'gathering';
