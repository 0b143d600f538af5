-- Contracts that we end: notice, the end, and what goes back for each order.
create table terminations (
    termination_id uuid        not null,
    account_id     uuid        not null,
    state          text        not null,
    case_id        text        not null,
    ends_at        timestamptz not null,
    requested_at   timestamptz not null,
    requested_by   uuid        not null,
    noticed_at     timestamptz,
    decided_by     uuid,
    ended_at       timestamptz,
    -- Credit that no order brought and a bank transfer did, in 10^-9 CNY.
    by_bank_nanos  bigint      not null default 0,
    constraint terminations_pkey primary key (termination_id),
    constraint terminations_state_check
        check (state in ('requested', 'noticed', 'ending', 'ended', 'withdrawn')),
    -- Nobody decides alone, and nobody is given less than thirty days.
    constraint terminations_decided_by_check check (state in ('requested', 'withdrawn')
        or (decided_by <> requested_by and noticed_at is not null)),
    constraint terminations_notice_check check (ends_at >= noticed_at + interval '30 days'),
    constraint terminations_ended_at_check check ((state = 'ended') = (ended_at is not null))
);
-- A contract ends once at a time.
create unique index terminations_open_key on terminations (account_id)
    where state in ('requested', 'noticed', 'ending', 'ended');
create index terminations_due_idx on terminations (ends_at) where state in ('noticed', 'ending');
create trigger terminations_kept before delete on terminations
    for each row execute function refuse_early_deletion('requested_at');
create trigger terminations_no_truncate before truncate on terminations
    for each statement execute function refuse_change();
revoke truncate on terminations from current_user;

create table compensations (
    termination_id uuid   not null,
    order_id       uuid   not null,
    paid_fen       bigint not null,
    refunded_fen   bigint not null,
    unspent_nanos  bigint not null,
    amount_fen     bigint not null,
    refund_id      uuid,
    constraint compensations_pkey primary key (termination_id, order_id),
    constraint compensations_termination_id_fkey
        foreign key (termination_id) references terminations,
    constraint compensations_order_id_fkey foreign key (order_id) references orders,
    constraint compensations_refund_id_fkey foreign key (refund_id) references refunds,
    constraint compensations_amount_fen_check
        check (amount_fen between 0 and paid_fen - refunded_fen and refunded_fen >= 0),
    constraint compensations_refund_id_check check ((amount_fen > 0) = (refund_id is not null))
);
create trigger compensations_append_only before update or delete on compensations
    for each row execute function refuse_change();
create trigger compensations_no_truncate before truncate on compensations
    for each statement execute function refuse_change();
revoke update, delete, truncate on compensations from current_user;

alter table refunds drop constraint refunds_reason_check,
    add constraint refunds_reason_check check (reason in ('infringement_dispute',
        'prepaid_not_provided', 'minor', 'duplicate_payment', 'paid_after_cancellation', 'termination'));
