// The official Node client of Anthropic: Messages.

import { assert, DOCUMENT, load, main, QUESTION, ROOT, SYSTEM } from "./case.mjs";

const { Anthropic } = await load("@anthropic-ai/sdk");
const client = new Anthropic({ baseURL: ROOT, apiKey: "sk-ant-test", maxRetries: 0, timeout: 60_000 });
const request = {
  model: "claude-sonnet-4-5",
  max_tokens: 100,
  system: SYSTEM,
  messages: [{ role: "user", content: [DOCUMENT, QUESTION].map((text) => ({ type: "text", text })) }],
};

await main("@anthropic-ai/sdk", {
  messages: async () => {
    const answer = await client.messages.create(request);
    assert(answer.usage.cache_read_input_tokens > 0, "no cached tokens");
    return [answer.content[0].text, answer.id];
  },
  "messages-stream": async () => {
    const stream = client.messages.stream(request);
    let events = 0;
    for await (const _ of stream) events++;
    return [await stream.finalText(), events];
  },
});
