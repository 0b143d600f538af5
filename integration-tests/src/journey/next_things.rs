use super::Journey;
use crate::stack::{Model, Stack};

/// Prints what to try next, with the values of this stack.
pub(super) fn print(stack: &Stack, journey: &Journey, model: &Model) {
    let edge = &stack.description().edge;
    let address = edge.trim_start_matches("http://");
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

  # any public RPC as JSON (this token lives ten minutes)
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
