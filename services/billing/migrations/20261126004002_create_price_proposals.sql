-- Price lists that operators hand in: one proposes, another publishes.
create table price_proposals (
    proposal_id  uuid        not null,
    effective_at timestamptz not null,
    -- {"tiers": [threshold, ...], "prices": [{"tier", "model", "unit", "nanos_per_unit"}, ...]}
    content      jsonb       not null,
    state        text        not null,
    -- what it was published as
    version      integer,
    proposed_by  uuid        not null,
    decided_by   uuid,
    proposed_at  timestamptz not null,
    decided_at   timestamptz,
    constraint price_proposals_pkey primary key (proposal_id),
    constraint price_proposals_version_key unique (version),
    constraint price_proposals_version_fkey foreign key (version) references price_lists,
    constraint price_proposals_state_check check (state in ('proposed', 'published', 'refused')),
    constraint price_proposals_version_check check ((state = 'published') = (version is not null)),
    constraint price_proposals_decided_check check
        ((state = 'proposed') = (decided_by is null) and (decided_by is null) = (decided_at is null)),
    -- Nobody publishes alone.
    constraint price_proposals_decided_by_check check (state <> 'published' or decided_by <> proposed_by)
);
create trigger price_proposals_kept before delete on price_proposals
    for each row execute function refuse_early_deletion('proposed_at');
create trigger price_proposals_no_truncate before truncate on price_proposals
    for each statement execute function refuse_change();
revoke truncate on price_proposals from current_user;
