create table apps (
    app_id     uuid        not null,
    account_id uuid        not null,
    name       text        not null,
    created_at timestamptz not null,
    constraint apps_pkey primary key (app_id),
    constraint apps_account_id_fkey foreign key (account_id) references accounts,
    constraint apps_name_check check (char_length(name) between 1 and 64)
);
create index apps_account_id_idx on apps (account_id, app_id);

create table api_keys (
    key_id     uuid        not null,
    app_id     uuid        not null,
    account_id uuid        not null,
    scopes     text[]      not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    constraint api_keys_pkey primary key (key_id),
    constraint api_keys_app_id_fkey foreign key (app_id) references apps
);
create index api_keys_app_id_idx on api_keys (app_id, key_id);

-- What every bearer credential is good for: API keys, access tokens, operator sessions. `principal`
-- is the protobuf message that the edge passes on.
create table grants (
    credential_id uuid        not null,
    session_id    uuid,
    secret_hash   bytea       not null,
    principal     bytea       not null,
    expires_at    timestamptz,
    revoked       boolean     not null default false,
    version       bigint      not null default 1,
    changed_at    timestamptz not null default clock_timestamp(),
    constraint grants_pkey primary key (credential_id),
    constraint grants_secret_hash_check check (octet_length(secret_hash) = 32)
);
create index grants_session_id_idx on grants (session_id) where session_id is not null;
create index grants_changed_at_idx on grants (changed_at);
create index grants_expires_at_idx on grants (expires_at) where expires_at is not null;
