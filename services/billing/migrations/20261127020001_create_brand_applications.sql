-- The rules of using the brand: fonts, colours, sizes. Immutable by their version (obligation T11.1b).
create table brand_rules (
    version      integer     not null,
    body         text        not null,
    sha256       text        not null,
    published_at timestamptz not null,
    published_by uuid        not null,
    constraint brand_rules_pkey primary key (version),
    constraint brand_rules_version_check check (version > 0)
);
create trigger brand_rules_append_only before update or delete on brand_rules
    for each row execute function refuse_change();
create trigger brand_rules_no_truncate before truncate on brand_rules
    for each statement execute function refuse_change();

-- Enterprises that want to use the brand, and what they were answered (obligations T11.3a, T11.3b).
create table brand_applications (
    application_id    uuid        not null,
    account_id        uuid        not null,
    -- Name, code and mail address of the enterprise, sealed under the account's key.
    enterprise_sealed bytea       not null,
    -- The name in the phrase.
    product_name      text        not null,
    scope             text        not null,
    months            integer     not null,
    applied_at        timestamptz not null,
    state             text        not null default 'open',
    answer            text,
    -- The Message-ID of the official mail that answered.
    mail_id           text,
    -- What the enterprise was checked by.
    evidence_sha256   text,
    rules_version     integer,
    answered_at       timestamptz,
    answered_by       uuid,
    until             timestamptz,
    constraint brand_applications_pkey primary key (application_id),
    constraint brand_applications_rules_version_fkey foreign key (rules_version) references brand_rules,
    constraint brand_applications_months_check check (months between 1 and 36),
    constraint brand_applications_state_check check (state in ('open', 'granted', 'refused')),
    constraint brand_applications_answered_check check ((state = 'open') = (answered_at is null)
        and (answered_at is null) = (answered_by is null) and (answered_at is null) = (answer is null)
        and (answered_at is null) = (mail_id is null)),
    -- No authorisation without the rules that it is under and an enterprise that somebody checked.
    constraint brand_applications_granted_check check ((state = 'granted') = (rules_version is not null)
        and (state = 'granted') = (evidence_sha256 is not null) and (state = 'granted') = (until is not null))
);
create index brand_applications_account_id_idx on brand_applications (account_id, application_id);
create index brand_applications_open_idx on brand_applications (application_id) where state = 'open';
create trigger brand_applications_answered before update on brand_applications for each row
    when (old.state <> 'open') execute function refuse_change();
create trigger brand_applications_kept before delete on brand_applications
    for each row execute function refuse_early_deletion('applied_at');
create trigger brand_applications_no_truncate before truncate on brand_applications
    for each statement execute function refuse_change();
