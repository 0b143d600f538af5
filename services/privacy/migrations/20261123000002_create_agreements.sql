-- Immutable versions of the agreements, and who accepted which.
create table agreement_versions (
    version_id     uuid        not null,
    agreement      text        not null,
    number         integer     not null,
    title          text        not null,
    body           text        not null,
    sha256         text        not null,
    published_at   timestamptz not null,
    effective_at   timestamptz not null,
    constraint agreement_versions_pkey primary key (version_id),
    constraint agreement_versions_agreement_number_key unique (agreement, number),
    constraint agreement_versions_number_check check (number > 0),
    constraint agreement_versions_sha256_check check (sha256 ~ '^[0-9a-f]{64}$'),
    constraint agreement_versions_times_check check (effective_at >= published_at)
);

create table acceptances (
    account_id  uuid        not null,
    version_id  uuid        not null,
    accepted_at timestamptz not null,
    constraint acceptances_pkey primary key (account_id, version_id),
    constraint acceptances_version_id_fkey foreign key (version_id) references agreement_versions
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'restrict_violation';
end $$;

create trigger agreement_versions_append_only before update or delete on agreement_versions
    for each row execute function refuse_change();
create trigger acceptances_append_only before update or delete on acceptances
    for each row execute function refuse_change();
