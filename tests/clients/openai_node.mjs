// The official Node client of OpenAI: Chat Completions and Responses.

import { assert, DOCUMENT, load, main, QUESTION, ROOT, SYSTEM } from "./case.mjs";

const { OpenAI } = await load("openai");
const client = new OpenAI({ baseURL: `${ROOT}/v1`, apiKey: "sk-test", maxRetries: 0, timeout: 60_000 });
const model = "gpt-4o-mini";
const messages = [
  { role: "system", content: SYSTEM },
  { role: "user", content: `${DOCUMENT}\n\n${QUESTION}` },
];

await main("openai", {
  chat: async () => {
    const answer = await client.chat.completions.create({ model, messages, x_unknown: { nested: [1, null] } });
    assert(answer.usage.prompt_tokens_details.cached_tokens > 0, "no cached tokens");
    return [answer.choices[0].message.content, answer.id];
  },
  "chat-stream": async () => {
    let text = "";
    let chunks = 0;
    const options = { stream: true, stream_options: { include_usage: true } };
    for await (const chunk of await client.chat.completions.create({ model, messages, ...options })) {
      text += chunk.choices[0]?.delta.content ?? "";
      chunks++;
    }
    return [text, chunks];
  },
  "responses-stream": async () => {
    const content = [DOCUMENT, QUESTION].map((text) => ({ type: "input_text", text }));
    const stream = client.responses.stream({ model, instructions: SYSTEM, input: [{ role: "user", content }] });
    let events = 0;
    for await (const _ of stream) events++;
    return [(await stream.finalResponse()).output_text, events];
  },
});
