-- The tables that the hub under test must serve, in the SQL of SQLite; other databases have the
-- same with types of their own. The suite brings its own rows and leaves others alone, so it may
-- run again and again on one database, beside whatever else is in it.
--
-- Policies: stock merges as `counter` where the hub can be told so; all else is the default.

CREATE TABLE note (
    id TEXT PRIMARY KEY NOT NULL,
    title TEXT,
    body TEXT
);

CREATE TABLE product (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    code TEXT,
    stock INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX product_code ON product (code);

CREATE TABLE sale (
    id INTEGER PRIMARY KEY,
    product_id INTEGER REFERENCES product (id) ON DELETE CASCADE,
    amount INTEGER NOT NULL CHECK (amount >= 0)
);

CREATE TABLE seat (
    hall TEXT NOT NULL,
    number INTEGER NOT NULL,
    guest TEXT,
    PRIMARY KEY (hall, number)
);

CREATE TABLE item (
    id TEXT PRIMARY KEY NOT NULL,
    an_integer INTEGER,
    a_real REAL,
    a_decimal DECIMAL,
    a_boolean BOOLEAN,
    a_text TEXT,
    a_blob BLOB,
    a_date DATE,
    a_time TIME,
    a_datetime DATETIME,
    a_uuid UUID,
    a_json JSON
);
