//! Who is next: accounts take turns, and inside an account its apps take turns.

use std::collections::{HashMap, VecDeque};

use wanwu_ids::{AccountId, AppId};

/// A bounded queue of waiting calls.
#[derive(Debug)]
pub struct FairQueue<T> {
    /// Accounts with waiting calls, the next one first.
    turns: VecDeque<AccountId>,
    accounts: HashMap<AccountId, Waiting<T>>,
    waiting: usize,
    limit: usize,
    account_limit: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    turns: VecDeque<AppId>,
    apps: HashMap<AppId, VecDeque<T>>,
}

impl<T> Waiting<T> {
    fn len(&self) -> usize {
        self.apps.values().map(VecDeque::len).sum()
    }
}

impl<T> FairQueue<T> {
    /// At most `limit` calls wait, and `account_limit` of one account.
    #[must_use]
    pub fn new(limit: usize, account_limit: usize) -> Self {
        let (turns, accounts) = (VecDeque::new(), HashMap::new());
        Self {
            turns,
            accounts,
            waiting: 0,
            limit,
            account_limit,
        }
    }

    /// How many wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Nobody waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Lets a call wait; gives it back when the queue is full.
    pub fn push(&mut self, account: AccountId, app: AppId, call: T) -> Result<(), T> {
        let of_account = self.accounts.get(&account).map_or(0, Waiting::len);
        if self.waiting == self.limit || of_account == self.account_limit {
            return Err(call);
        }
        let waiting = self.accounts.entry(account).or_insert_with(|| {
            self.turns.push_back(account);
            Waiting {
                turns: VecDeque::new(),
                apps: HashMap::new(),
            }
        });
        let calls = waiting.apps.entry(app).or_insert_with(|| {
            waiting.turns.push_back(app);
            VecDeque::new()
        });
        calls.push_back(call);
        self.waiting += 1;
        Ok(())
    }

    /// Forgets calls that need not be `kept`.
    pub fn retain(&mut self, kept: impl Fn(&T) -> bool) {
        for waiting in self.accounts.values_mut() {
            waiting.apps.retain(|_, calls| {
                calls.retain(&kept);
                !calls.is_empty()
            });
            waiting.turns.retain(|app| waiting.apps.contains_key(app));
        }
        self.accounts.retain(|_, waiting| !waiting.apps.is_empty());
        self.turns
            .retain(|account| self.accounts.contains_key(account));
        self.waiting = self.accounts.values().map(Waiting::len).sum();
    }

    /// The next call of an account that `may` run one more.
    pub fn pop(&mut self, may: impl Fn(AccountId) -> bool) -> Option<(AccountId, T)> {
        let turn = self.turns.iter().position(|account| may(*account))?;
        let account = self.turns.remove(turn)?;
        let waiting = self.accounts.get_mut(&account)?;
        let app = waiting.turns.pop_front()?;
        let calls = waiting.apps.get_mut(&app)?;
        let call = calls.pop_front()?;
        if calls.is_empty() {
            waiting.apps.remove(&app);
        } else {
            waiting.turns.push_back(app);
        }
        if waiting.apps.is_empty() {
            self.accounts.remove(&account);
        } else {
            self.turns.push_back(account);
        }
        self.waiting -= 1;
        Some((account, call))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn account(n: u128) -> AccountId {
        AccountId::from_uuid(Uuid::from_u128(n))
    }

    fn app(n: u128) -> AppId {
        AppId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn accounts_take_turns_and_then_their_apps() {
        let mut queue = FairQueue::new(10, 10);
        for (owner, of, call) in [
            (1, 1, "a"),
            (1, 1, "b"),
            (1, 1, "c"),
            (1, 2, "d"),
            (2, 3, "e"),
            (3, 4, "f"),
        ] {
            queue.push(account(owner), app(of), call).unwrap();
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(|_| true))
            .map(|(_, c)| c)
            .collect();
        assert_eq!(order, ["a", "e", "f", "d", "b", "c"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn an_account_at_its_limit_is_passed_over() {
        let mut queue = FairQueue::new(10, 10);
        queue.push(account(1), app(1), "a").unwrap();
        queue.push(account(2), app(2), "b").unwrap();
        assert_eq!(
            queue.pop(|owner| owner != account(1)),
            Some((account(2), "b"))
        );
        assert_eq!(queue.pop(|owner| owner != account(1)), None);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_full_queue_gives_the_call_back_until_someone_left() {
        let mut queue = FairQueue::new(2, 1);
        queue.push(account(1), app(1), "a").unwrap();
        assert_eq!(queue.push(account(1), app(2), "b"), Err("b"));
        queue.push(account(2), app(3), "c").unwrap();
        assert_eq!(queue.push(account(3), app(4), "d"), Err("d"));
        queue.retain(|call| *call != "a");
        queue.push(account(3), app(4), "d").unwrap();
        assert_eq!(queue.pop(|_| true), Some((account(2), "c")));
        assert_eq!(queue.pop(|_| true), Some((account(3), "d")));
        assert_eq!(queue.pop(|_| true), None);
    }
}
