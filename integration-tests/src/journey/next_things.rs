use super::Journey;
use crate::stack::{Model, Stack};

/// Prints what to try next, with the values of this stack.
pub(super) fn print(stack: &Stack, journey: &Journey, model: &Model) {
    let edge = &stack.description().edge;
    let address = edge.trim_start_matches("http://");
    let embeddings = embeddings(stack, edge, journey.secret());
    let (key, token, model) = (journey.secret(), journey.token(), &model.name);
    println!(
        r#"
The stack is running. Try next:

  # chat with curl
  curl -N {edge}/v1/chat/completions -H "authorization: Bearer {key}" \
    -H 'content-type: application/json' \
    -d '{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"你好，你会做什么？"}}]}}'

  # the OpenAI SDK, unmodified (pip install openai)
  python3 - <<'PY'
from openai import OpenAI
client = OpenAI(base_url="{edge}/v1", api_key="{key}")
for chunk in client.chat.completions.create(model="{model}", stream=True,
        messages=[{{"role": "user", "content": "用一句话介绍你自己。"}}]):
    print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="", flush=True)
PY

{embeddings}  # any public RPC as JSON (this token lives ten minutes)
  curl -s {edge}/wanwu.billing.v1.BalanceService/GetBalance -H "authorization: Bearer {token}" \
    -H 'content-type: application/json' -d '{{}}'

  # gRPC by reflection
  grpcurl -plaintext {address} list
  grpcurl -plaintext -H "authorization: Bearer {key}" {address} wanwu.inference.v1.ModelService/ListModels

  every address, certificate, database and simulator   {description}
  logs                                                 {logs}
  stop it: scripts/down     forget it: scripts/down --wipe
"#,
        description = stack.description().dir.join("stack.json").display(),
        logs = stack.description().dir.join("logs").display(),
    );
}

/// How to get vectors, where a model of the stack makes them.
fn embeddings(stack: &Stack, edge: &str, key: &str) -> String {
    let models = &stack.description().models;
    let Some(model) = models.iter().find(|model| model.capability == "embedding") else {
        return String::new();
    };
    format!(
        r#"  # vectors of texts: what is alike is near
  curl -s {edge}/v1/embeddings -H "authorization: Bearer {key}" \
    -H 'content-type: application/json' \
    -d '{{"model":"{name}","input":["今天天气很好","The weather is nice today"]}}'

"#,
        name = model.name
    )
}
