//! Who is next: the account that was served the fewest tokens for its share, then its app that
//! was, then that app's most urgent call that waits longest. After Sheng et al., "Fairness in
//! Serving Large Language Models" (OSDI 2024): a virtual counter of tokens for each; who comes
//! back after a pause begins where the others are, so that nobody saves turns up.

use std::collections::{BTreeSet, VecDeque};

use wanwu_ids::{AccountId, AppId};

use super::{limits::Priority, table::Table};

/// Served tokens are counted in parts of one, so that shares divide them.
const PARTS: u64 = 16;
/// Accounts without calls that are kept in mind for what they were served beyond the others.
const MAX_IDLE: usize = 4096;

/// A bounded queue of waiting calls.
#[derive(Debug)]
pub struct FairQueue<T> {
    accounts: Table<AccountId, Account<T>>,
    /// Accounts with waiting calls, the least served first.
    turns: BTreeSet<(u64, AccountId)>,
    /// What whoever was next last had been served.
    floor: u64,
    waiting: usize,
    limit: usize,
    account_limit: usize,
}

/// One call in the queue.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Who pays.
    pub account: AccountId,
    /// The app.
    pub app: AppId,
    /// The account's priority.
    pub account_priority: Priority,
    /// The key's.
    pub key_priority: Priority,
    /// It had its turn and could not run: it goes before others of its app and priority.
    pub again: bool,
}

/// Who is next.
#[derive(Debug, PartialEq, Eq)]
pub struct Next<T> {
    /// Who pays.
    pub account: AccountId,
    /// The app.
    pub app: AppId,
    /// The call.
    pub call: T,
}

#[derive(Debug)]
struct Account<T> {
    served: u64,
    share: u64,
    floor: u64,
    waiting: usize,
    running: usize,
    apps: Table<AppId, App<T>>,
}

#[derive(Debug)]
struct App<T> {
    served: u64,
    running: usize,
    /// By priority, the lowest first.
    calls: [VecDeque<T>; 3],
}

impl<T> App<T> {
    const fn new(served: u64) -> Self {
        Self {
            served,
            running: 0,
            calls: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
        }
    }

    fn waiting(&self) -> usize {
        self.calls.iter().map(VecDeque::len).sum()
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting() == 0
    }
}

impl<T> Account<T> {
    const fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting == 0
    }

    /// The least served app with waiting calls.
    fn next(&mut self) -> Option<(AppId, T)> {
        let waiting = self.apps.iter_mut().filter(|(_, app)| app.waiting() > 0);
        let (id, app) = waiting.min_by_key(|(id, app)| (app.served, **id))?;
        let call = app.calls.iter_mut().rev().find_map(VecDeque::pop_front)?;
        app.running += 1;
        self.running += 1;
        self.waiting -= 1;
        self.floor = self.floor.max(app.served);
        Some((*id, call))
    }

    /// The least urgent and newest call of the app that has most waiting.
    fn last(&mut self) -> Option<T> {
        let (_, app) = self
            .apps
            .iter_mut()
            .max_by_key(|(id, app)| (app.waiting(), **id))?;
        let call = app.calls.iter_mut().find_map(VecDeque::pop_back)?;
        self.waiting -= 1;
        Some(call)
    }
}

impl<T> FairQueue<T> {
    /// At most `limit` calls wait, and `account_limit` of one account.
    #[must_use]
    pub fn new(limit: usize, account_limit: usize) -> Self {
        Self {
            accounts: Table::default(),
            turns: BTreeSet::new(),
            floor: 0,
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

    /// Another call only has room in place of one.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.waiting >= self.limit
    }

    /// Lets a call wait, or gives it back. Where a full queue has more calls of another account
    /// than this one's would be, the last of those is given up for it.
    pub fn push(&mut self, turn: Turn, call: T) -> Result<Option<T>, T> {
        let own = self.accounts.get(&turn.account).map_or(0, |a| a.waiting);
        if own >= self.account_limit || self.limit == 0 {
            return Err(call);
        }
        let displaced = if self.is_full() {
            match self.displace(own + 1) {
                Some(last) => Some(last),
                None => return Err(call),
            }
        } else {
            None
        };
        let floor = self.floor;
        let account = self.accounts.entry(turn.account).or_insert(Account {
            served: floor,
            share: 1,
            floor: 0,
            waiting: 0,
            running: 0,
            apps: Table::default(),
        });
        if account.is_idle() {
            account.served = account.served.max(floor);
        }
        account.share = turn.account_priority.share();
        let begins = account.floor;
        let app = account
            .apps
            .entry(turn.app)
            .or_insert_with(|| App::new(begins));
        if app.is_idle() {
            app.served = app.served.max(begins);
        }
        let calls = &mut app.calls[turn.key_priority as usize];
        if turn.again {
            calls.push_front(call);
        } else {
            calls.push_back(call);
        }
        account.waiting += 1;
        self.waiting += 1;
        if account.waiting == 1 {
            self.turns.insert((account.served, turn.account));
        }
        Ok(displaced)
    }

    /// Takes a call of the account that has most waiting, if that is more than `own`.
    fn displace(&mut self, own: usize) -> Option<T> {
        let most = self
            .turns
            .iter()
            .max_by_key(|(_, id)| self.accounts.get(id).map_or(0, |account| account.waiting));
        let (served, id) = *most?;
        let account = self.accounts.get_mut(&id)?;
        if account.waiting <= own {
            return None;
        }
        let call = account.last()?;
        if account.waiting == 0 {
            self.turns.remove(&(served, id));
        }
        self.waiting -= 1;
        Some(call)
    }

    /// Forgets calls that need not be `kept`.
    pub fn retain(&mut self, kept: impl Fn(&T) -> bool) {
        for account in self.accounts.values_mut() {
            for app in account.apps.values_mut() {
                app.calls.iter_mut().for_each(|calls| calls.retain(&kept));
            }
            account.waiting = account.apps.values().map(App::waiting).sum();
        }
        self.turns
            .retain(|(_, id)| self.accounts.get(id).is_some_and(|a| a.waiting > 0));
        self.waiting = self.accounts.values().map(|account| account.waiting).sum();
    }

    /// The next call, of an account that `may` run one more. It counts as running, and as `cost`
    /// tokens until [`Self::end`] says what it was.
    pub fn pop(&mut self, cost: u64, may: impl Fn(AccountId) -> bool) -> Option<Next<T>> {
        let turn = *self.turns.iter().find(|(_, account)| may(*account))?;
        self.turns.remove(&turn);
        let (served, id) = turn;
        self.floor = self.floor.max(served);
        self.waiting -= 1;
        let account = self.accounts.get_mut(&id)?;
        let (app, call) = account.next()?;
        if account.waiting > 0 {
            self.turns.insert((account.served, id));
        }
        self.charge(id, app, i128::from(cost));
        Some(Next {
            account: id,
            app,
            call,
        })
    }

    /// A call ended for which `cost` was counted and which was served `tokens`.
    pub fn end(&mut self, account: AccountId, app: AppId, cost: u64, tokens: u64) {
        self.charge(account, app, i128::from(tokens) - i128::from(cost));
        let floor = self.floor;
        if let Some(of) = self.accounts.get_mut(&account) {
            of.running = of.running.saturating_sub(1);
            if let Some(app) = of.apps.get_mut(&app) {
                app.running = app.running.saturating_sub(1);
            }
            let begins = of.floor;
            of.apps
                .retain(|_, app| !app.is_idle() || app.served > begins);
            if of.is_idle() && of.served <= floor {
                self.accounts.remove(&account);
            }
        }
        if self.accounts.len() > self.waiting + MAX_IDLE {
            self.accounts
                .retain(|_, account| !account.is_idle() || account.served > floor);
        }
        if self.accounts.len() > self.waiting + 2 * MAX_IDLE {
            self.accounts.retain(|_, account| !account.is_idle());
        }
    }

    fn charge(&mut self, account: AccountId, app: AppId, tokens: i128) {
        let Some(of) = self.accounts.get_mut(&account) else {
            return;
        };
        let waits = of.waiting > 0 && self.turns.remove(&(of.served, account));
        let parts = tokens.saturating_mul(i128::from(PARTS));
        of.served = plus(of.served, parts / i128::from(of.share));
        if let Some(app) = of.apps.get_mut(&app) {
            app.served = plus(app.served, parts);
        }
        if waits {
            self.turns.insert((of.served, account));
        }
    }
}

fn plus(served: u64, parts: i128) -> u64 {
    u64::try_from((i128::from(served) + parts).max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
