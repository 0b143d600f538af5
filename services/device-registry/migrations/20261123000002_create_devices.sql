-- End users' devices. The identifier is kept only as a keyed pseudonym of its app: the same device
-- in two apps cannot be linked, and no identifier can be read back.
create table devices (
    device_id        uuid        not null,
    app_id           uuid        not null,
    kind             text        not null,
    pseudonym_key    text        not null,
    pseudonym        bytea       not null,
    secret_hash      bytea       not null,
    registered_at    timestamptz not null,
    version          bigint      not null default 1,
    changed_at       timestamptz not null default clock_timestamp(),
    constraint devices_pkey primary key (device_id),
    constraint devices_app_id_pseudonym_key unique (app_id, kind, pseudonym_key, pseudonym),
    constraint devices_kind_check check (kind in ('oaid', 'android_id')),
    constraint devices_pseudonym_check check (octet_length(pseudonym) = 32),
    constraint devices_secret_hash_check check (octet_length(secret_hash) = 32)
);
create index devices_changed_at_idx on devices (changed_at);

create table licences (
    device_id  uuid        not null,
    capability text        not null,
    expires_at timestamptz,
    granted_at timestamptz not null,
    constraint licences_pkey primary key (device_id, capability),
    constraint licences_device_id_fkey foreign key (device_id) references devices
);

-- What an app demands of the devices that call for it.
create table demands (
    app_id       uuid        not null,
    capabilities text[]      not null,
    version      bigint      not null,
    changed_at   timestamptz not null,
    constraint demands_pkey primary key (app_id)
);
create index demands_changed_at_idx on demands (changed_at);
