-- The versions of the agreements, as privacy tells them: what was in force when is read here.
create table agreement_versions (
    version_id   uuid        not null,
    agreement    text        not null,
    -- 0: not told.
    number       integer     not null,
    effective_at timestamptz not null,
    constraint agreement_versions_pkey primary key (version_id),
    constraint agreement_versions_number_check check (number >= 0)
);
create trigger agreement_versions_append_only before update or delete on agreement_versions
    for each row execute function refuse_change();
create trigger agreement_versions_no_truncate before truncate on agreement_versions
    for each statement execute function refuse_change();

-- Which of them an order goes by, and its price list: pinned when it is made (obligation T0.8). The version
-- before pins no agreements.
alter table orders
    add column agreements jsonb not null default '[]',
    add constraint orders_agreements_check check (jsonb_typeof(agreements) = 'array');
create trigger orders_pinned before update on orders for each row
    when ((old.price_version, old.agreements) is distinct from (new.price_version, new.agreements))
    execute function refuse_change();
