//! Chat templates, rendered as in Hugging Face transformers.

use minijinja::{Environment, Error, ErrorKind, context, syntax::SyntaxConfig};

use super::ChatMessage;

/// Renders the prompt for the assistant's turn.
///
/// The methods of Python's strings and lists are available. `strftime_now` is not: templates that check for
/// it fall back to a fixed date, so the same messages give the same prompt every day.
pub(super) fn render(
    template: &str,
    messages: &[ChatMessage],
    begin: Option<&str>,
    end: Option<&str>,
) -> Result<String, Error> {
    let mut environment = Environment::new();
    // The settings that chat templates are written for.
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |reason: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, reason))
    });
    let messages: Vec<_> = messages
        .iter()
        .map(|message| context! { role => message.role.as_str(), content => message.content.as_str() })
        .collect();
    environment.render_str(
        template,
        context! { messages, add_generation_prompt => true, bos_token => begin, eos_token => end },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> Vec<ChatMessage> {
        [
            ("system", " Be brief. "),
            ("user", "Hello"),
            ("assistant", "<think>\nhm\n</think>\n\nHi"),
            ("user", "Go on"),
        ]
        .map(|(role, content)| ChatMessage { role: role.into(), content: content.into() })
        .to_vec()
    }

    /// The features that Qwen3's template uses: slices, string methods, namespaces.
    #[test]
    fn python_methods_are_available() {
        let template = r#"{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content.strip() + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.last = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages[1:] %}
    {%- set content = message.content %}
    {%- if '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}
{%- endfor %}
{{- ns.last }}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}"#;
        let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n\
                        <|im_start|>assistant\nHi<|im_end|>\n<|im_start|>user\nGo on<|im_end|>\n3<|im_start|>assistant\n";
        assert_eq!(render(template, &chat(), None, None).unwrap(), expected);
    }

    /// Gemma 3's template, without its images: conditions on types, and roles that must alternate.
    #[test]
    fn gemma_calls_the_assistant_model() {
        let template = r#"{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}"#;
        let expected = "<bos><start_of_turn>user\n Be brief. \n\nHello<end_of_turn>\n<start_of_turn>model\n\
                        <think>\nhm\n</think>\n\nHi<end_of_turn>\n<start_of_turn>user\nGo on<end_of_turn>\n\
                        <start_of_turn>model\n";
        assert_eq!(render(template, &chat(), Some("<bos>"), None).unwrap(), expected);
    }

    /// The beginning of Llama 3.2's template.
    #[test]
    fn the_date_comes_from_the_template() {
        let template = r#"{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- endif %}
{{- "Today Date: " + date_string + "\n" + system_message + messages|length|string }}"#;
        let expected = "<|begin_of_text|>Today Date: 26 Jul 2024\nBe brief.3";
        assert_eq!(render(template, &chat(), Some("<|begin_of_text|>"), None).unwrap(), expected);
        let error = render("{{ raise_exception('no') }}", &chat(), None, None).unwrap_err();
        assert!(format!("{error:#}").contains("no"));
    }
}
