-- Real-name checks. Name, number and birth date only sealed: a data key for each account, AAD
-- binds table, column, row and account.
create table verifications (
    verification_id    uuid        not null,
    account_id         uuid        not null,
    state              text        not null,
    name_sealed        bytea       not null,
    resident_id_sealed bytea       not null,
    submitted_at       timestamptz not null,
    decided_at         timestamptz,
    queries            integer     not null default 0,
    query_after        timestamptz not null,
    constraint verifications_pkey primary key (verification_id),
    constraint verifications_state_check
        check (state in ('pending', 'verified', 'rejected', 'revoked')),
    constraint verifications_decided_check check ((state = 'pending') = (decided_at is null))
);
-- At most one check of an account is under way or holds.
create unique index verifications_account_id_key on verifications (account_id)
    where state in ('pending', 'verified');
create index verifications_account_id_idx on verifications (account_id, verification_id);
create index verifications_pending_idx on verifications (query_after) where state = 'pending';

-- Verification's part of an account's standing, one row an account.
create table gates (
    account_id uuid        not null,
    version    bigint      not null,
    verified   boolean     not null,
    age_band   smallint    not null,
    banded_on  date        not null,
    changed_at timestamptz not null,
    constraint gates_pkey primary key (account_id),
    constraint gates_age_band_check check (age_band between 0 and 4)
);
create index gates_changed_at_idx on gates (changed_at);
-- Who is not adult yet is looked at again each day.
create index gates_banded_on_idx on gates (banded_on) where verified and age_band < 4;
