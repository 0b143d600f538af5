-- Dated, immutable price lists.
create table price_lists (
    version      integer     not null,
    effective_at timestamptz not null,
    constraint price_lists_pkey primary key (version),
    constraint price_lists_version_check check (version > 0)
);

create table prices (
    version        integer not null,
    model          text    not null,
    unit           text    not null,
    nanos_per_unit bigint  not null,
    constraint prices_pkey primary key (version, model, unit),
    constraint prices_version_fkey foreign key (version) references price_lists,
    constraint prices_unit_check check (unit in ('input_token', 'output_token')),
    constraint prices_nanos_per_unit_check check (nanos_per_unit >= 0)
);

create trigger price_lists_append_only before update or delete on price_lists
    for each row execute function refuse_change();
create trigger prices_append_only before update or delete on prices
    for each row execute function refuse_change();
