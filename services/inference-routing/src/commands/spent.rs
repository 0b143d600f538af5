//! What a call spent, as the engine said, the tokenizer counts or it is estimated, and what of it is billed.

use tokio::task::spawn_blocking;
use tracing::{Instrument, info_span};

use super::run_call::Call;
use crate::domain::{
    answer::Spent,
    told::Told,
    usage::{Outcome, Source, Tokens, estimated_input},
};

impl Call {
    /// What is paid for what was spent: within the hold, and nothing where nothing was sent.
    pub(super) fn bill(&self, outcome: Outcome, spent: Spent) -> (Tokens, Source) {
        if is_free(outcome, spent) {
            return (Tokens::default(), spent.source);
        }
        let used = self.with_input(spent.tokens);
        let charged = self.row.prices.charged(used, self.row.bound);
        (charged, spent.source)
    }

    /// What was spent, counted by the model's tokenizer where the engine did not say and there is
    /// one. An answer may have no token, as one of embeddings: its prompt was read all the same. On a
    /// thread of its own: a long text takes a while.
    pub(super) async fn counted(
        &self,
        outcome: Outcome,
        spent: Spent,
        told: Option<Told>,
    ) -> Spent {
        let tokenizer = self.model().tokenizer.clone();
        let unsaid = spent.source == Source::Estimate && !is_free(outcome, spent);
        let (Some(tokenizer), Some(told), true) = (tokenizer, told, unsaid) else {
            return spent;
        };
        let Some(texts) = told.texts(spent.text) else {
            return spent;
        };
        // The engine may have said this before it fell silent.
        let known = spent.tokens.input;
        let prompt = self.body.clone();
        let images = self.image_tokens();
        let counter = tokenizer.clone();
        let count = move || {
            let input = match known {
                0 => counter
                    .count(&prompt.prompt_texts())?
                    .saturating_add(prompt.prompt_token_ids())
                    .saturating_add(images),
                known => known,
            };
            Some(Tokens::of(input, counter.count(&texts)?))
        };
        let _turn = tokenizer.turn().await;
        let counting = spawn_blocking(count).instrument(info_span!("inference.tokenize"));
        let Ok(Some(tokens)) = counting.await else {
            return spent;
        };
        Spent {
            tokens,
            source: Source::Tokenizer,
            ..spent
        }
    }

    /// Tokens with an estimate of the prompt's where the engine did not say.
    pub(super) fn with_input(&self, tokens: Tokens) -> Tokens {
        let input = match tokens.input {
            0 => self.estimated_input(),
            known => known,
        };
        Tokens { input, ..tokens }
    }

    fn estimated_input(&self) -> u64 {
        estimated_input(self.body.message_bytes()).saturating_add(self.image_tokens())
    }

    fn image_tokens(&self) -> u64 {
        let bound = self.model().config.image_tokens;
        self.body.image_tokens(bound).unwrap_or_default()
    }
}

/// It did not end as it should, and nothing of it was sent: nobody pays.
fn is_free(outcome: Outcome, spent: Spent) -> bool {
    spent.tokens.output == 0 && outcome != Outcome::Completed
}
