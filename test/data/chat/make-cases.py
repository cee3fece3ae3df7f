# Writes cases.json: what jinja2 (3.1.6) makes of small templates, set up as chat templates are rendered in practice.
# Run as `python3 make-cases.py` in this folder with `jinja2` installed; tests read the result only.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import json

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
)


def tojson(value, indent=None):
    return json.dumps(value, ensure_ascii=False, indent=indent)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception

MESSAGES = [{'role':'system','content':'Be nice.'},{'role':'user','content':'  Hi "x" é\n'},{'role':'assistant','content':'Yo','tool_calls':[{'type':'function','function':{'name':'f','arguments':{'a':1,'b':[1,2.5,None,True]}}}]},{'role':'user','content':'q'}]
VARIABLES = [dict(messages=MESSAGES,add_generation_prompt=True,bos_token='<s>',eos_token='</s>',tools=None),dict(messages=MESSAGES[1:],add_generation_prompt=False,bos_token='<s>',eos_token='</s>')]
TEMPLATES = [
"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are X<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
"{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'].strip() + ' [/INST]' }}{% endif %}{% endfor %}",
"""{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{{- bos_token }}
{%- for m in loop_messages | rejectattr("role","equalto","assistant") %}
  {{ m.role|upper }}: {{ m['content'] | trim }}
  {%- if loop.last and system_message is defined %}
 [{{ system_message }}]
  {%- endif %}
{% endfor %}
END
""",
"""{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{{ index }}:{{ message.role }},{%- endfor %}""",
"{% set ns = namespace(found=false, n=0) %}{% for m in messages %}{% if m.role == 'assistant' %}{% set ns.found = true %}{% endif %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.found }} {{ ns.n }}",
"{% for m in messages %}{% if m.tool_calls is defined and m.tool_calls %}{% for t in m.tool_calls %}{{ t|tojson }}{{ t|tojson(indent=2) }}{% endfor %}{% endif %}{% endfor %}",
"{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }} {{ m.content }}{% else %}none{% endfor %}",
"a\n  {% if true %}\n  b\n  {% endif %}\nc\n\n",
"a  {%- if true -%}  b  {%- endif -%}  c {{- 'x' -}}  d\n",
"a\n   {# c #}\n b {#- d -#} e",
"{{ 'ab' 'cd' ~ 1 + 2 ~ 'x' if false else 3 ~ none ~ true }}",
"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 * 3 + 1 }} {{ 1.5 + 1 }} {{ 4 / 2 }}",
"{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'a' in 'abc' }} {{ 'z' not in ['a'] }} {{ not 1 == 2 }} {{ x is defined }} {{ x is not defined }} {{ none is none }} {{ 3 is odd }} {{ 'a' is string and 1 is number }}",
"{{ 'héllo'[1:3] }} {{ 'héllo'|length }} {{ 'hello'[-1] }} {{ 'hello'[::-1] }} {{ [1,2,3][-2:]|join(',') }} {{ [1,2,3][5]|default('d') }} {{ {'a':1}.a }} {{ {'a':1}['b'] is undefined }}",
"{% for k, v in {'a':1,'b':'x'}.items() %}{{ k }}={{ v }};{% endfor %}{{ {'a':1}.get('z', 'dflt') }}",
"{{ ' xx '.strip() ~ '|' ~ 'xxaxx'.strip('x') ~ '|' ~ 'a,b,,c'.split(',')|join('+') ~ '|' ~ '  a  b '.split()|join('+') ~ '|' ~ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}",
"{{ 'AbC'|lower }}{{ 'abc def'|title }}{{ 'abc dEF'|capitalize }}{{ 'abc'.upper() }}{{ 'aXbX'|replace('X','--') }}{{ 'x'.startswith('x') }}{{ 'x'.endswith('y') }}",
"{% set x %}block {{ 1 }}{% endset %}{{ x }}",
"{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
"{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}{% if true %}{% set x = 5 %}{% endif %}{{ x }}",
"{{ undefined_thing }}{{ undefined_thing.foo }}",
"{{ messages|map(attribute='role')|join(' ') }} {{ messages|selectattr('tool_calls')|list|length }} {{ messages|selectattr('tool_calls','defined')|list|length }} {{ messages|first|tojson }}",
"{{ (messages|last).content }} {{ messages[-1]['content'] }} {{ [messages|length, 2] | join('-') }}",
"{%- for i in [1,2,3] -%}\n{{ i }}{{ ',' if not loop.last }}\n{%- endfor %}",
"{{ {'a': {'b': [1, {'c': 'd\"\\n'}]}} | tojson }} {{ [] | tojson(indent=4) }} {{ {} | tojson(indent=4) }}",
"{{ 'a' if x is defined and x else 'b' }}{{ x|default('q') }}{{ ''|default('q', true) }}{{ none|default('q') }}{{ false|d('z', boolean=true) }}",
"{{ 1 +", "{% if %}", "{% for x in %}{% endfor %}", "{% endif %}", "{{ 'abc }}", "{{ foo() }}", "{{ 'x' + 1 }}", "{{ x|nofilter }}", "{% if true %}", "{{ 1 // 0 }}", "{{ ] }}", "{% unknown %}",
"{{ ('a','b')[1] }} {% for a, b in [(1,2),(3,4)] %}{{ a*b }} {% endfor %}",
"{%+ if true %}x{% endif +%}\ny",
"line\n\t{{ 1 }}\n{% if true %}  \nz{% endif %}",
"{{- bos_token -}}\n\n{% for message in messages -%}\n  {{ message.role }}\n{% endfor -%}\n tail",
"{{ 'a' ~ ('b' if true) ~ 'c' }}{{ '%s' }}{{ \"it's\" }}{{ 'q\\'q\\\\ \\u00e9 \\x41' }}",
"{% if messages[0].role == 'system' -%}\nS\n{%- elif messages[0]['role'] == 'user' %}\nU\n{%- else %}\nE\n{%- endif %}",
"{{ 1 if 0 else 2 if 0 else 3 }}{{ [1,2]+[3] == [1,2,3] }}{{ 1 == 1.0 }}{{ 'a' < 'b' }}{{ true and 'x' or 'y' }}{{ 10000000000000000000.0 }} {{ 0.1 }}",
]

cases = []
for template in TEMPLATES:
    outputs = []
    for variables in VARIABLES:
        try:
            outputs.append(environment.from_string(template).render(**variables))
        except Exception:
            outputs.append(None)  # refused
    cases.append(dict(template=template, outputs=outputs))
with open("cases.json", "w") as out:
    text = ",\n".join(json.dumps(c) for c in cases)
    out.write('{"variables": ' + json.dumps(VARIABLES) + ',\n"cases": [\n' + text + "\n]}\n")
