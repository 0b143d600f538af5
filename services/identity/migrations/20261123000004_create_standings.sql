-- What identity knows of "may this account act now?", one row an account: its own part, and what
-- privacy and verification told, each with its version.
create table standings (
    account_id           uuid        not null,
    version              bigint      not null default 1,
    privacy_version      bigint      not null default -1,
    agreements_current   boolean     not null default false,
    core_consent         boolean     not null default false,
    guardian_consent     boolean     not null default false,
    verification_version bigint      not null default -1,
    real_name_verified   boolean     not null default false,
    age_band             smallint    not null default 0,
    suspended            boolean     not null default false,
    closed               boolean     not null default false,
    changed_at           timestamptz not null default clock_timestamp(),
    constraint standings_pkey primary key (account_id),
    constraint standings_account_id_fkey foreign key (account_id) references accounts,
    constraint standings_age_band_check check (age_band between 0 and 4)
);
create index standings_changed_at_idx on standings (changed_at);
