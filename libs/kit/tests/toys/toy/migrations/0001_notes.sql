CREATE TABLE note (id text PRIMARY KEY, said text NOT NULL);
CREATE INDEX note_said ON note (said);
