CREATE TABLE standing (
    model text PRIMARY KEY,
    revision integer NOT NULL,
    champion text
);
