use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use wanwu_clock::SharedEntropy;
use zeroize::Zeroizing;

use crate::{KeyError, KeyProvider, SubjectKey, keys::KEY_LENGTH};

/// The keys of persons: one for each in each service, wrapped, in a table of their own. Who destroys
/// a person's key makes everything unreadable that was sealed with it, in every copy.
///
/// Each method comes twice: one that takes a connection, to be part of a transaction, and one that
/// takes one from the pool. Do not call the second while you hold a transaction of the same
/// pool: enough callers that do so wait for each other.
#[derive(Clone)]
pub struct SubjectKeys {
    pool: PgPool,
    provider: Arc<KeyProvider>,
    entropy: SharedEntropy,
}

/// A person's key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SubjectKeyError {
    /// The person has none.
    #[error("the subject has no key")]
    Unknown,
    /// It was destroyed: the person was erased.
    #[error("the subject's key was destroyed")]
    Destroyed,
    /// It cannot be unwrapped.
    #[error("the subject's key cannot be unwrapped")]
    Key(#[from] KeyError),
    /// The database failed.
    #[error("the subject's key cannot be read")]
    Database(#[from] sqlx::Error),
}

#[derive(sqlx::FromRow)]
struct Row {
    key_id: Option<String>,
    wrapped: Option<Vec<u8>>,
}

impl SubjectKeys {
    /// Keys in the table of [`SCHEMA`](crate::SCHEMA), in this pool's database.
    #[must_use]
    pub fn new(pool: PgPool, provider: Arc<KeyProvider>, entropy: SharedEntropy) -> Self {
        Self {
            pool,
            provider,
            entropy,
        }
    }

    /// The key of `subject`, made now if there is none.
    ///
    /// # Errors
    /// When it was destroyed, cannot be unwrapped, or the database fails.
    pub async fn key(
        &self,
        subject: Uuid,
        now: DateTime<Utc>,
    ) -> Result<SubjectKey, SubjectKeyError> {
        self.key_in(&mut *self.pool.acquire().await?, subject, now)
            .await
    }

    /// As [`key`](Self::key).
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub async fn key_in(
        &self,
        connection: &mut PgConnection,
        subject: Uuid,
        now: DateTime<Utc>,
    ) -> Result<SubjectKey, SubjectKeyError> {
        match self.existing_in(&mut *connection, subject).await {
            Err(SubjectKeyError::Unknown) => {}
            other => return other,
        }
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        self.entropy.fill(&mut key[..]);
        sqlx::query(
            "insert into subject_keys (subject, key_id, wrapped, created_at)
             values ($1, $2, $3, $4)
             on conflict on constraint subject_keys_pkey do nothing",
        )
        .bind(subject)
        .bind(self.provider.active())
        .bind(self.provider.wrap(&*self.entropy, subject, &key[..]))
        .bind(now)
        .execute(&mut *connection)
        .await?;
        // Somebody else's key may have been first: only what is in the table counts.
        self.existing_in(connection, subject).await
    }

    /// The key of `subject`.
    ///
    /// # Errors
    /// When there is none, it was destroyed, cannot be unwrapped, or the database fails.
    pub async fn existing(&self, subject: Uuid) -> Result<SubjectKey, SubjectKeyError> {
        self.existing_in(&mut *self.pool.acquire().await?, subject)
            .await
    }

    /// As [`existing`](Self::existing).
    ///
    /// # Errors
    /// As [`existing`](Self::existing).
    pub async fn existing_in(
        &self,
        connection: &mut PgConnection,
        subject: Uuid,
    ) -> Result<SubjectKey, SubjectKeyError> {
        let row: Option<Row> =
            sqlx::query_as("select key_id, wrapped from subject_keys where subject = $1")
                .bind(subject)
                .fetch_optional(connection)
                .await?;
        match row.ok_or(SubjectKeyError::Unknown)? {
            Row {
                key_id: Some(id),
                wrapped: Some(wrapped),
            } => {
                let key = self.provider.unwrap(&id, subject, &wrapped)?;
                SubjectKey::new(subject, &key, Arc::clone(&self.entropy))
                    .ok_or_else(|| KeyError::Unwrap(id).into())
            }
            _ => Err(SubjectKeyError::Destroyed),
        }
    }

    /// Destroys the key of `subject`; a subject without one can have none later. True: there was
    /// one until now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn destroy(&self, subject: Uuid, now: DateTime<Utc>) -> Result<bool, sqlx::Error> {
        self.destroy_in(&mut *self.pool.acquire().await?, subject, now)
            .await
    }

    /// As [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// As [`destroy`](Self::destroy).
    pub async fn destroy_in(
        &self,
        connection: &mut PgConnection,
        subject: Uuid,
        now: DateTime<Utc>,
    ) -> Result<bool, sqlx::Error> {
        let destroyed = sqlx::query(
            "update subject_keys set key_id = null, wrapped = null, destroyed_at = $2
             where subject = $1 and destroyed_at is null",
        )
        .bind(subject)
        .bind(now)
        .execute(&mut *connection)
        .await?;
        if destroyed.rows_affected() == 1 {
            return Ok(true);
        }
        let marked = sqlx::query(
            "insert into subject_keys (subject, created_at, destroyed_at) values ($1, $2, $2)
             on conflict on constraint subject_keys_pkey do nothing",
        )
        .bind(subject)
        .bind(now)
        .execute(&mut *connection)
        .await?;
        if marked.rows_affected() == 0 {
            // A key that was made between the two statements.
            let late = sqlx::query(
                "update subject_keys set key_id = null, wrapped = null, destroyed_at = $2
                 where subject = $1 and destroyed_at is null",
            );
            let late = late.bind(subject).bind(now).execute(connection).await?;
            return Ok(late.rows_affected() == 1);
        }
        Ok(false)
    }

    /// Wraps up to `limit` keys anew that are wrapped with another key than the active one, and
    /// says how many. When it says 0, the older keys can be taken out of the provider.
    ///
    /// # Errors
    /// When a key cannot be unwrapped or the database fails.
    pub async fn rewrap(&self, limit: i64) -> Result<u64, SubjectKeyError> {
        let mut tx = self.pool.begin().await?;
        let rows: Vec<(Uuid, String, Vec<u8>)> = sqlx::query_as(
            "select subject, key_id, wrapped from subject_keys
             where key_id <> $1 order by subject limit $2 for update skip locked",
        )
        .bind(self.provider.active())
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        for (subject, id, wrapped) in &rows {
            let key = self.provider.unwrap(id, *subject, wrapped)?;
            sqlx::query("update subject_keys set key_id = $2, wrapped = $3 where subject = $1")
                .bind(subject)
                .bind(self.provider.active())
                .bind(self.provider.wrap(&*self.entropy, *subject, &key))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }
}

impl fmt::Debug for SubjectKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectKeys")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}
