-- One data key for each person, wrapped by a key from outside the database. Without it nothing
-- that is sealed for the person can be read. Its backups live at most 7 days.
create table subject_keys (
    subject uuid not null constraint subject_keys_pkey primary key,
    -- the wrapping key's id; null once destroyed
    key_id text,
    wrapped bytea,
    created_at timestamptz not null,
    destroyed_at timestamptz,
    constraint subject_keys_destroyed_check
        check ((wrapped is null) = (destroyed_at is not null) and (key_id is null) = (wrapped is null))
);
create index subject_keys_key_id_idx on subject_keys (key_id);
