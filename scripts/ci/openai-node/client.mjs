// What the official openai package of npm sees: a line `passed NAME` or `FAILED NAME: why` for each case.
import assert from "node:assert/strict";
import OpenAI from "openai";

const { WANWU_BASE_URL: baseURL, WANWU_KEY: apiKey, WANWU_POOR_KEY: poorKey, WANWU_ENGINE: engine } = process.env;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "你好" }];
const pixel =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";
const ask = (fields, from = client) =>
  from.chat.completions.create({ model: "scripted", messages, ...fields });
// What the engine got of a call.
const arrived = async (answer) => {
  const told = await (await fetch(`${engine}/_truth?call=${answer.aigc.ProduceID}`)).json();
  return JSON.parse(told.body);
};
const refused = async (kind, code, call) => {
  const error = await call().then(() => assert.fail("it was answered"), (error) => error);
  assert.ok(error instanceof kind, `${error}`);
  if (code) assert.equal(error.code, code);
  return error;
};

const cases = {
  async node_models_are_listed() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    assert.ok(names.includes("scripted"));
  },
  async node_an_answer_in_one_piece() {
    const answer = await ask({ wanwu_script: { tokens: 7 } });
    assert.equal([...answer.choices[0].message.content].length, 7);
    assert.equal(answer.usage.completion_tokens, 7);
  },
  async node_an_answer_as_it_comes() {
    const stream = await ask({ wanwu_script: { tokens: 9 }, stream: true, stream_options: { include_usage: true } });
    let text = "";
    let usage;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    assert.equal([...text].length, 9);
    assert.equal(usage.completion_tokens, 9);
  },
  async node_a_stream_that_is_aborted_ends_at_the_engine() {
    const stream = await ask({ wanwu_script: { tokens: 500, delay_ms: 10 }, stream: true });
    let call;
    for await (const chunk of stream) {
      call = chunk.aigc?.ProduceID ?? call;
      if (call && chunk.choices[0]?.delta?.content) break;
    }
    stream.controller.abort();
    assert.ok(call, "no chunk names its call");
    for (let look = 0; look < 50; look += 1) {
      const told = await (await fetch(`${engine}/_truth?call=${call}`)).json();
      if (told.ending === "cancelled") return;
      await new Promise((wake) => setTimeout(wake, 20));
    }
    assert.fail("the engine goes on");
  },
  async node_a_completion_in_one_piece_and_as_it_comes() {
    const asked = { model: "scripted", prompt: "从前" };
    const answer = await client.completions.create({ ...asked, max_tokens: 5, wanwu_script: { tokens: 9 } });
    assert.equal([...answer.choices[0].text].length, 5);
    assert.equal(answer.usage.completion_tokens, 5);
    const stream = await client.completions.create({ ...asked, stream: true, wanwu_script: { tokens: 6 } });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.text ?? "";
    assert.equal([...text].length, 6);
  },
  async node_a_response_in_one_piece_and_as_it_comes() {
    const asked = { model: "scripted", input: "你好", wanwu_script: { tokens: 7 } };
    const answer = await client.responses.create(asked);
    assert.equal([...answer.output_text].length, 7);
    assert.equal(answer.aigc.Label, "1");
    const stream = await client.responses.create({ ...asked, stream: true });
    const kinds = [];
    let text = "";
    for await (const event of stream) {
      kinds.push(event.type);
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    assert.equal([...text].length, 7);
    assert.equal(kinds.at(0), "response.created");
    assert.equal(kinds.at(-1), "response.completed");
  },
  async node_a_response_that_is_to_be_kept_is_refused() {
    await refused(OpenAI.BadRequestError, "state_not_kept", () =>
      client.responses.create({ model: "scripted", input: "你好", store: true }));
  },
  async node_embeddings_in_both_formats() {
    const asked = { model: "scripted", input: ["你好", "世界"] };
    const texts = await client.embeddings.create(asked);
    const floats = await client.embeddings.create({ ...asked, encoding_format: "float" });
    assert.deepEqual(texts.data[1].embedding, floats.data[1].embedding);
    assert.equal(texts.usage.prompt_tokens, 4);
  },
  async node_a_bad_key_is_an_authentication_error() {
    const wrong = new OpenAI({ baseURL, apiKey: "wk-nonsense", maxRetries: 0 });
    await refused(OpenAI.AuthenticationError, "invalid_api_key", () => ask({}, wrong));
  },
  async node_an_exhausted_balance_is_a_rate_limit_error() {
    const poor = new OpenAI({ baseURL, apiKey: poorKey, maxRetries: 2 });
    await refused(OpenAI.RateLimitError, "insufficient_quota", () => ask({}, poor));
  },
  async node_an_unknown_model_is_not_found() {
    await refused(OpenAI.NotFoundError, "model_not_found", () =>
      client.chat.completions.create({ model: "no-such-model", messages }));
  },
  async node_an_unknown_field_reaches_the_engine() {
    const answer = await ask({ wanwu_script: { tokens: 1 }, something_new: { nested: [1, null, "三"] } });
    assert.deepEqual((await arrived(answer)).something_new, { nested: [1, null, "三"] });
  },
  async node_an_image_reaches_the_engine() {
    const text = "这是什么";
    const parts = [{ type: "text", text }, { type: "image_url", image_url: { url: pixel, detail: "low" } }];
    const asked = [{ role: "user", content: parts }];
    const answer = await ask({ messages: asked, wanwu_script: { tokens: 3 } });
    assert.equal(answer.usage.completion_tokens, 3);
    assert.deepEqual((await arrived(answer)).messages, asked);

    const items = [{ type: "input_text", text }, { type: "input_image", image_url: pixel, detail: "low" }];
    const input = [{ role: "user", content: items }];
    const response = await client.responses.create({ model: "scripted", input, wanwu_script: { tokens: 3 } });
    assert.equal(response.usage.output_tokens, 3);
    assert.deepEqual((await arrived(response)).input, input);
  },
};

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`passed ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error}`.replaceAll("\n", " ").slice(0, 400));
  }
}
process.exit(failed ? 1 : 0);
