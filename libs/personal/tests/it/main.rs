//! Keys of persons in a real PostgreSQL.

mod subject_keys;
