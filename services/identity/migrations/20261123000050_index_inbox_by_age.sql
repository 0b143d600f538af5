-- What was applied long ago is forgotten, oldest first.
create index inbox_applied_at_idx on inbox (applied_at);
