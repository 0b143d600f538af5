-- Where a provider's bill and our payments differ, and what became of it.
create table reconciliation_cases (
    case_id                 uuid        not null,
    provider                text        not null,
    day                     date        not null,
    provider_transaction_id text        not null,
    kind                    text        not null,
    billed_fen              bigint      not null,
    booked_fen              bigint      not null,
    opened_at               timestamptz not null,
    resolved_at             timestamptz,
    resolved_by             uuid,
    resolution              text,
    constraint reconciliation_cases_pkey primary key (case_id),
    -- The same bill again opens no other case.
    constraint reconciliation_cases_difference_key
        unique (provider, day, provider_transaction_id, kind),
    constraint reconciliation_cases_kind_check
        check (kind in ('not_booked', 'not_billed', 'amount', 'order', 'billed_twice')),
    constraint reconciliation_cases_resolved_check
        check ((resolved_at is null) = (resolved_by is null)
               and (resolved_at is null) = (resolution is null))
);
create index reconciliation_cases_open_idx on reconciliation_cases (case_id)
    where resolved_at is null;
create trigger reconciliation_cases_kept before delete on reconciliation_cases
    for each row execute function refuse_early_deletion('opened_at');
create trigger reconciliation_cases_no_truncate before truncate on reconciliation_cases
    for each statement execute function refuse_change();

-- A day's payments of a provider.
create index payments_provider_paid_at_idx on payments (provider, paid_at);
