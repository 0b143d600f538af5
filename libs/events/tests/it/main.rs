//! The library against a real PostgreSQL and a real RabbitMQ.

mod bench;
mod broken_connections;
mod dead_letters;
mod exactly_once;
mod outbox;
mod retries;
mod trace;
