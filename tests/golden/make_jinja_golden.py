#!/usr/bin/env python3
"""Renders small templates with jinja2 as Hugging Face transformers configures it, and writes the results to
tests/data/jinja/snippets.json. The unit tests of src/text/chat replay them. Needs jinja2 3.1.6:

    python3 tests/golden/make_jinja_golden.py
"""
import copy
import datetime
import json
import pathlib
import re

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

import jinja_generated

NOW = datetime.datetime(2024, 7, 26, 12, 5, 9)  # 1721995509 s since 1970, read as local time


class Generation(Extension):
    """The tag with which transformers marks what the assistant wrote; here it only renders its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_render")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def environment(now=NOW):
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = now.strftime
    return env


CONTEXT = {
    "messages": [
        {"role": "system", "content": "  Be terse.\n"},
        {"role": "user", "content": "Héllo <b>&\"'", "tags": ["x", "y"]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1, "b": [1.5, None, True]}}}]},
    ],
    "tools": [{"type": "function", "function": {"name": "get", "description": "Gets\nit", "parameters": {"type": "object", "properties": {"q": {"type": "string", "enum": ["a", "b"]}}, "required": ["q"]}}}],
    "n": 3, "neg": -7, "pi": 3.14159, "yes": True, "no": False, "nil": None, "word": "hello world", "empty": "",
    "uni": "Straße 日本語 🙂", "lines": "one\n  two\n\nthree\n", "nums": [3, 1, 2], "mixed": [1, "a", None, True, 2.5, [1], {"k": "v"}],
    "people": [{"name": "Bo", "age": 30, "x": {"y": 1}}, {"name": "al", "age": 25, "x": {"y": 2}}, {"name": "Cy", "age": 30, "x": {"y": 0}}],
    "d": {"b": 2, "a": 1, "C": 3}, "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}],
    "items_key": {"items": "mine", "get": 5}, "html": "<a href=\"x\">'&'</a>", "tabs": "a\tb  c\n d",
}

EXPRESSIONS = r"""
1 + 2 * 3 | 7 // 2 | -7 // 2 | 7 % 3 | -7 % 3 | 7 % -3 | 7.5 // 2 | -7.5 % 2 | 2 ** 10 | 2 ** -1 | -2 ** 2 | 2 ** 3 ** 2 | 1 / 4 | 6 / 3 | 1e3 | 1.5e-7 | 1e16
1e15 | 123456789012345.6 | 0.1 + 0.2 | 1e22 | 5e-324 | 1.0 | 100000000.0 | 1_000 | 0x1F | 0o17 | 0b101 | 9223372036854775807 | -1 - -1 | +3 | - 3 | 3 - 1 | 3 -1
true + true | true and 1 | false or 'x' | not '' | not nil | nil or 0 | 1 and 2 and 3 | 0 or nil or [] | not 1 == 2 | (not 1) == 2
1 < 2 < 3 | 1 < 3 < 2 | 3 > 2 > 1 | 1 == 1.0 | 'a' == 'a' | 'a' != 'b' | 'a' < 'b' | [1,2] < [1,3] | (1,2) == [1,2] | {'a':1} == {'a':1.0} | nil == false | 0 == false | 1 == true
1 in nums | 9 not in nums | 'ell' in word | 'a' in d | 'zz' in d | 1 in (1,2) | 'x' in missing | not 1 in nums | '' in ''
'a' ~ 1 ~ nil ~ true ~ 1.5 | 'a' + 'b' | 'ab' * 3 | 3 * 'ab' | [1] * 2 | [1] + [2] | (1,) + (2,) | 'a' 'b' | 'a' ~ missing | word ~ n | 1 ~ 2 + 3 | 'x' * 0 | 'x' * -1
[] | [1, 'a', nil] | (1,) | () | (1, 2) | 1, 2 | {} | {'a': 1, 'b': [1, {'c': nil}]} | {1: 2, 'x': (1,)} | ["it's", 'say "hi"', 'both \' and "', 'back\\slash', 'tab\t', 'nl\n', 'é', '\x01', '🙂', '\u200b'] | [1.0, 1e100, true]
nums[0] | nums[-1] | nums[1:] | nums[:-1] | nums[::-1] | nums[::2] | nums[5:] | nums[-2:] | nums[2:0:-1] | nums[-100:100] | word[0] | word[-1] | word[1:4] | word[::-1] | word[::3] | uni[4] | uni[-1] | uni[4:8] | uni[::-1] | (1,2,3)[1:]
range(5)[2] | range(5)[1:3]|list | range(10) | range(3) | range(2, 5) | range(5, 0, -2) | range(5,0,-2)|list | range(0) | range(0)|list | nums[true]
d.a | d['a'] | d.get('a') | d.get('zz') | d.get('zz', 7) | d.keys() | d.values() | d.items() | d.items()|list | d.keys()|list | d|length | d.b + d['C'] | d.missing | d['missing'] | d[1] | items_key.items() | items_key['items'] | items_key['get'] | items_key.get('get') | d.copy()
messages[0].role | messages[0]['content'] | messages[1].content[0] | messages[2].tool_calls[0].function.arguments | messages[-1].content is none | messages[0].nope | messages[9] | missing | missing is defined | nil.x | n.x | word.nope | word['upper']() | tools[0].function.name
'x' if yes else 'y' | 'x' if no else 'y' | 'x' if no | 1 if 0 else 2 if 0 else 3 | ('a' if yes) ~ 'b' | 1 if yes if yes | [1 if yes else 2, 3]
word is string | n is string | n is number | true is number | true is integer | pi is float | n is float | nil is none | d is mapping | nums is mapping | nums is iterable | word is iterable | n is iterable | nums is sequence | d is sequence | d.items() is sequence | missing is iterable | missing is undefined | word is defined
3 is odd | 3 is even | 4 is even | 9 is divisibleby 3 | 9 is divisibleby(4) | 1 is sameas 1 | true is sameas true | 1 is sameas true | nil is sameas nil | yes is true | no is false | 1 is true | n is boolean | no is boolean | 'a' is in ['a'] | 'a' is in 'abc' | 2 is gt 1 | 2 is lt(1) | 2 is ge 2 | 2 is le 1 | 2 is eq 2 | 2 is ne 2 | 2 is equalto 2 | 2 is greaterthan 1 | 2 is lessthan 1 | 'AB' is upper | 'ab' is lower | 'Ab' is upper | range is callable | n is callable | 'upper' is filter | 'nope' is filter | 'odd' is test | 'a' is escaped | nums is not none | nums is not mapping | not nums is mapping | n is not even and yes | missing is not defined or no
word.upper() | word.title() | word.capitalize() | 'ABC'.lower() | 'aBc'.swapcase() | uni.upper() | uni.lower() | 'ß'.upper() | 'ÀÉ'.lower() | "they're bill's".title() | 'hello-world x2y'.title() | 'ÉCOLE été'.capitalize()
'  x '.strip() | '  x '.lstrip() | '  x '.rstrip() | 'xxaxx'.strip('x') | 'abcxcba'.strip('abc') | '\n\t x'.strip() | '\u3000x\u00a0'.strip() | 'éaé'.strip('é') | messages[0].content.strip()
word.split() | word.split(' ') | 'a,b,,c'.split(',') | 'a,b,c'.split(',', 1) | 'a,b,c'.rsplit(',', 1) | ' a  b '.split() | ' a  b '.split(' ') | 'a b c d'.split(nil, 2) | 'a b c  '.rsplit(nil, 1) | 'a b c'.split(maxsplit=1) | ''.split() | ''.split(',') | 'a--b'.split('--') | 'abc'.split('x') | 'x</think>y</think>z'.split('</think>')[-1] | 'x</think>y'.split('</think>')[0] | lines.splitlines() | lines.splitlines(true) | 'a\r\nb\rc'.splitlines() | tabs.split() | 'aaa'.rsplit('aa')
word.startswith('he') | word.startswith('lo') | word.endswith('ld') | word.startswith(('x','he')) | word.endswith(('x',)) | word.startswith('ll', 2) | word.startswith('l', 2, 3) | word.endswith('hello', 0, 5) | ''.startswith('') | word.find('o') | word.find('zz') | word.rfind('o') | word.index('w') | word.rindex('l') | uni.find('日') | word.find('o', 5) | word.find('o', -4) | word.count('l') | word.count('') | 'aaaa'.count('aa') | word.find('')
word.replace('l', 'L') | word.replace('l', 'L', 1) | 'abc'.replace('', '-') | 'abc'.replace('', '-', 2) | ''.replace('', 'x') | 'aaa'.replace('aa', 'b') | uni.replace('日本', '--') | word.replace('zz', 'y') | 'abc'.replace('b', '') | 'ab'.replace('', '-', 5)
', '.join(['a','b']) | ''.join(['a']) | '-'.join('abc') | ','.join(d) | '-'.join([]) | word.center(15, '*') | 'ab'.center(5) | 'abc'.center(6) | 'abc'.center(8,'x') | 'a'.ljust(3) ~ '|' | 'a'.rjust(3) | '42'.zfill(5) | '-42'.zfill(5) | 'x'.zfill(0) | 'a=b=c'.partition('=') | 'a=b=c'.rpartition('=') | 'abc'.partition('=') | 'abc'.rpartition('=') | 'prefix-x'.removeprefix('prefix-') | 'x.txt'.removesuffix('.txt') | 'abc'.removeprefix('zz')
'a1'.isalnum() | 'a'.isalpha() | '12'.isdigit() | '1a'.isdigit() | ' \n'.isspace() | ''.isspace() | 'AB'.isupper() | 'ab1'.islower() | 'Ab Cd'.istitle() | 'é'.isascii() | 'abc'.isascii() | '١'.isdigit() | '½'.isnumeric() | 'é'.isalpha()
'{} {}'.format(1, 'a') | '{1} {0}'.format(1, 'a') | '{a}'.format(a=1) | '{0.x.y}'.format(people[0]) | '{0[name]}'.format(people[0]) | '{:>5}|{:<5}|{:^5}'.format('a','b','c') | '{:05d}'.format(42) | '{:.2f}'.format(pi) | '{:+d}'.format(3) | '{:,}'.format(1234567) | '{:x} {:X} {:o} {:b} {:#x}'.format(255,255,8,5,255) | '{:e}'.format(12345.678) | '{:g}'.format(0.00001) | '{:%}'.format(0.25) | '{!r}'.format('a') | '{!s}'.format(nil) | '{{}}'.format() | '{:*^9}'.format('mid') | '{:{}}'.format('a', 4) ~ '|' | '{:.3}'.format('abcdef') | '{:10.3f}'.format(pi) | '{}'.format(d) | '{:-5}'.format(-42) | '{:05}'.format(-3) | '{:,.2f}'.format(12345.678)
'%s and %s' % ('a', 1) | '%d' % 3 | '%d' % 3.9 | '%05d' % 42 | '%-5s|' % 'ab' | '%5s|' % 'ab' | '%.2f' % pi | '%x %X %o' % (255, 255, 8) | '%e' % 12345.678 | '%g' % 1e-5 | '%r' % 'a' | '%%' % () | '%(a)s' % d | '%s' % nil | '%s' % nums | '%c' % 'z' | '%+d' % 3 | '% d' % 3 | '%.1s' % 'abc' | '%#x' % 255 | '%s' % d | '%i' % 5 | '%5.1f|' % 2.25 | '%.3d' % 5
word|upper | word|capitalize | 'ABC def'|title | 'foo-bar (baz) [qux'|title | "it's o'neil"|title | '  x '|trim | 'xxaxx'|trim('x') | nil|upper | n|string | 1.0|string | missing|upper | lines|indent | lines|indent(2) | lines|indent(2, true) | lines|indent(2, first=true, blank=true) | lines|indent('> ') | ''|indent(2) | 'a\nb'|indent(width=1) | 'x'|center(5) ~ '|' | word|replace('l','L') | word|replace('l','L',1) | n|replace('3','4') | 'a'|replace('', 'x')
html|e | html|escape | html|safe | nil|e | html|forceescape | '%s-%s'|format(1,'a') | '%(x)s'|format(x=1) | '3'|int | '3.9'|int | 'x'|int | 'x'|int(7) | '0x1f'|int(0,16) | '1f'|int(base=16) | '101'|int(base=2) | 3.9|int | -3.9|int | true|int | nil|int | ' 12 '|int | '1_000'|int | ''|int | '3.5'|float | 'x'|float | 'x'|float(1.5) | 3|float | nil|float | 'inf'|float | '-5'|int
-3|abs | -2.5|abs | 2.5|round | 3.5|round | 2.567|round(2) | 2.567|round(1,'ceil') | 2.567|round(1,'floor') | 42|round | 1234|round(-2) | 2.675|round(2) | 0.5|round | -1.5|round | 5|round(0,'ceil')
'Hello World foo bar'|truncate(10) | 'Hello World'|truncate(11) | 'Hello World foo bar'|truncate(10,true) | 'Hello World foo bar'|truncate(10,true,'!') | 'Hello World foo'|truncate(10,false,'...',0) | 'a b c'|wordcount | 'it is, a_b  x-y'|wordcount | nil|string|length
nums|length | word|length | uni|length | d|count | missing|length | nums|first | nums|last | []|first | word|first | word|last | d|first | d|last | nums|list | word|list | d|list | nums|join | nums|join('-') | people|join(', ', attribute='name') | people|join(', ', 'name') | word|join('.') | mixed|join('|') | missing|join(',') | []|join
nums|sort | nums|sort(reverse=true) | ['b','A','c']|sort | ['b','A','c']|sort(case_sensitive=true) | people|sort(attribute='age')|map(attribute='name')|list | people|sort(attribute='age,name')|map(attribute='name')|list | people|sort(attribute='x.y')|map(attribute='name')|list | people|sort(true, attribute='age')|map(attribute='name')|list | 'hello'|sort | d|sort
d|dictsort | d|dictsort(true) | d|dictsort(by='value') | d|dictsort(reverse=true) | d|dictsort(false,'value',true) | {}|dictsort | d|items|list | missing|items|list
[1,2,1,3]|unique|list | ['a','A','b']|unique|list | ['a','A','b']|unique(true)|list | people|unique(attribute='age')|map(attribute='name')|list | nums|min | nums|max | ['b','A']|max | people|max(attribute='age') | []|min | nums|sum | people|sum(attribute='age') | people|sum('age', 10) | [[1],[2]]|sum(start=[]) | [1.5,2]|sum
nums|reverse|list | word|reverse | uni|reverse | range(7)|batch(3)|list | range(7)|batch(3,'x')|list | range(7)|slice(3)|list | range(7)|slice(3,'x')|list | people|groupby('age') | people|groupby(attribute='name')
people|map(attribute='name')|list | people|map(attribute='x.y')|list | people|map(attribute='zz', default=0)|list | ['a','b']|map('upper')|list | [1,2]|map('string')|join | [[1,2],[3,4]]|map('join','-')|list | [[1,2]]|map(attribute=1)|list | [' a ']|map('trim')|list | nums|select('odd')|list | nums|select('gt', 1)|list | [0,1,'',2]|select|list | nums|reject('odd')|list | nums|reject('equalto', 1)|list | [0,1]|reject|list | people|selectattr('age','equalto',30)|map(attribute='name')|list | people|selectattr('x.y')|list|length | people|rejectattr('age','gt',26)|map(attribute='name')|list | messages|selectattr('role','equalto','system')|list|length | messages|selectattr('tool_calls','defined')|list|length | messages|rejectattr('tool_calls','defined')|list|length | messages|map(attribute='role')|unique|list
missing|default('x') | missing|d('x') | nil|default('x') | nil|default('x', true) | ''|default('x', boolean=true) | ''|default('x') | missing|default | d.zz|default('x') | (missing|default({})).x is defined | people[0]|attr('name') is defined | word|attr('upper') is defined
word|tojson | uni|tojson | d|tojson | d|tojson(indent=2) | d|tojson(sort_keys=true) | d|tojson(separators=(',',':')) | d|tojson(separators=[', ',': '], indent=1) | tools|tojson | tools|tojson(indent=4) | messages|tojson | [1.0,1e100,nil,true,[],{}]|tojson | {'a':[],'b':{}}|tojson(indent=2) | '\x00\x1f\x7f"\\/\b\f\n\r\t'|tojson | uni|tojson(ensure_ascii=true) | '\x7f'|tojson(ensure_ascii=true) | (1,2)|tojson | {1:2, nil:3, true:4, 1.5:5}|tojson | html|tojson | nil|tojson | [[]]|tojson(indent=2) | d|tojson(indent='--') | [1,[2,[3]]]|tojson(indent=0) | 'a'|tojson|length
namespace(a=1).a | namespace(d).b | namespace().zz is defined | dict(a=1, b=2) | dict(d, z=9) | dict([['a',1],('b',2)]) | dict(**{'q':1}) | range(*[1,4])|list | cycler('a','b').next() | cycler('a','b').current | joiner('|')() ~ 'x' | strftime_now('%Y-%m-%d %H:%M:%S') | strftime_now('%d %b %Y, %A %j') | (range(3)|list).index(2) | [1,1,2].count(1) | (1,2).index(2) | [1,2].copy()
true | True | false | False | none | None | not none | 'it''s' | "dq \"esc\"" | 'sq \'esc\'' | '\u00e9\x41\101\0' | 'a\
b' | '\q' | '\\n' | "a'b" | 'new\nline' | 'é日🙂'
messages[1].content | messages[1].content|e | tools[0].function.description | tools[0]['function']['parameters']['properties'].q.enum|join(' | ') | messages[2].tool_calls[0].function.arguments|tojson | messages[0].content|trim ~ '!' | nums|map('string')|join('+') | (nums|sort)[0] | nums|length > 2 and yes | word is string and word|length > 3 | d.items()|map('join','=')|list | d.values()|sum | d.keys()|sort | d.keys()|length | d.items()|first
word|length|string|length | word.split('o')|map('trim')|join(',') | 'abc'|list|reverse|join | -n|abs | (n + 1) * 2 | n|string + 'x' | [n, pi]|max | 'a' if n > 2 and not no else 'b' | nums == [3,1,2] | nums|sort == [1,2,3] | missing == missing2 | missing != 1 | missing == nil | not missing | missing or 'z' | [missing] | {'a': missing} | missing ~ '' | n in [1, n]
word.__class__ is defined | nums.append is defined | word.format is defined | d.update is defined | d.pop is defined | d.__init__ is defined
"""

ERRORS = r"""
missing.x | missing() | missing[0] | missing + 1 | 1 + missing | -missing | missing < 1 | missing|int | missing|abs | missing|tojson | missing|dictsort | word.nope() | nil.x.y | d.a.b.c | nums[9].x | d['zz'].x | messages[0].zz.y
1 + 'a' | 'a' + 1 | 'a' - 'b' | [1] + (1,) | {} + {} | 'a' * 'b' | 'a' * 1.5 | 1 / 0 | 1 // 0 | 1 % 0 | 1.0 / 0 | 0 ** -1 | 1 < 'a' | nil < 1 | {} < {} | [1] < ['a'] | -'a' | 1 in 5 | [1] in {} | 1 in 'a' | {[1]: 2} | {{}: 1} | nums[::0]
n() | 'a'() | nil() | word.upper(1) | word.split('') | word.split(1) | word.index('zz') | ''.join([1]) | word.center() | word.startswith(1) | [].index(1) | d.get() | d.get([1]) | word.join(5) | word.replace('a') | word.strip(1)
nums.append(1) | nums.pop() | d.update({}) | d.pop('a') | d.clear() | nums.sort() | d.setdefault('a',1) | word.__class__.x | word.__class__() | d.__init__() | nums.extend([1])
nope(1) | word|nope | 1 is nope | word|upper(1) | nums|join(1,2,3,4) | 5|length | 5|list | 5|first | nil|length | 5|join | nums|sort(attribute='x') | [1,'a']|sort | [nil,1]|max | nums|map | nums|map('nope')|list | nums|select('nope')|list | nums|items | nums|dictsort | nums|sum('x') | ['a']|sum | 'a'|round | 'a'|abs | nums|map('upper', 1)|list | d|tojson(nope=1) | range|tojson | nums|map('string')|tojson | d.items()|tojson | {(1,2):3}|tojson | range(3)|tojson | nums|groupby('zz') | d|dictsort(by='zz') | 'x'|truncate(2) | nums|reverse|length | nums|map('string')|length
range() | range(1,2,0) | range(1000000) | range('a') | dict(1) | dict([1]) | namespace(1) | cycler() | raise_exception('boom') | raise_exception('Bad «role»: ' ~ word) | strftime_now() | strftime_now(1) | raise_exception() | joiner(1,2)
'%d' % 'a' | '%s %s' % 'a' | 'a' % 1 | '%(x)s' % {} | '%q' % 1 | '%' % 1 | '{}'.format() | '{a}'.format() | '{'.format() | '}'.format() | '{:d}'.format('a') | '{:d}'.format(1.5) | '{:q}'.format(1) | '{0.a.b}'.format(d) | '%s' % () | '{!z}'.format(1)
1 + | * 2 | (1 | [1 | {'a' | {'a':} | a.b. | a[ | f(a=1, 2) | f(**d, 1) | f(a=1,a=2) | 'abc | 1 2 | a b | a is b is c | x|y.z | $ | a ? b | 1 if | not | a is | a | | {1,2} | a..b | a.1.b c | 01 | }} | a = b | [1,,2] | (,) | ()() | a[1:2:3:4] | a not b | 1 === 1 | 'a'.'b' | a.(b) | if | f(*nums, 1)
"""

TEMPLATES = [
    # whitespace control
    "a\n  {% if yes %}\n  b\n  {% endif %}\nc\n", "a\n{% if yes -%}\n  b\n{%- endif %}\nc", "a {%- if yes %} b {%- endif %} c", "{{ 'a' -}}   \n  b", "a  \n {{- 'b' }}",
    "  {{ n }}\n", "  {%+ if yes %}x{% endif %}", "{% if yes +%}\nx{% endif %}\n\ny", "x {% set a = 1 %} y\n", "{% set a = 1 %}\n{% set b = 2 %}\n{{ a + b }}\n\n", "a\n\n", "a\n", "\n{% if yes %}\n\n{% endif %}\n",
    "  {# c #}  x", "a\n  {# c #}\n  b", "a {#- c -#} b", "{# multi\nline #}\nx", "{#+ c #} x", "a\n   {#- c +#}\n b", "{%- raw -%} {{ x }} {%- endraw -%} z", "{% raw %}\n{{ x }} {% if %}\n{% endraw %}\ny", "  {% raw %}  a  {% endraw %}  ", "x\n  {% raw %}\n  a\n  {% endraw %}\nb", "{%raw%}{{{%endraw%}",
    "\t{% if yes %}\ttab\t{% endif %}\t", "a\r\nb\rc\n", "{% if yes %}\r\nx\r\n{% endif %}\r\n", "{{ '{{' }} {{ '}}' }} {{ \"%}\" }}", "{ { } } % { #", "{{'a'}}{{-'b'}}", "{{ {'a': {'b': 1}}.a.b }}", "{{ {'a': {}} }}", "{{ 1 -}} {{- 2 }}", "{{-1}}", "{{ -1 }}", "a{% if yes %}\n{% endif %}b", "a   {%- set x = 1 -%}   b", " \u00a0{%- set x = 1 -%}\u3000 b",
    "{% if yes %}{% endif %}  \n  {% if yes %}x{% endif %}", "a\n  {{ n }}  \n  {% if no %}{% endif %}  b", "{%- for i in nums %}\n  {{ i }}\n{%- endfor %}\n", "line\n    {%- if yes %}\n    x\n    {%- endif %}", "{{\nn\n}}", "{%\nif yes\n%}x{%\nendif\n%}",
    # for
    "{% for i in nums %}{{ i }},{% endfor %}", "{% for i in nums %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}", "{% for i in [] %}x{% else %}none{% endfor %}", "{% for i in nums if i > 1 %}{{ i }}/{{ loop.length }} {% endfor %}", "{% for i in nums if i > 9 %}x{% else %}e{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for (a, b) in [(1,2),(3,4)] %}{{ a }}{{ b }}{% endfor %}", "{% for a, (b, c) in [(1,(2,3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for c in 'añb' %}{{ c }}.{% endfor %}", "{% for m in messages %}{{ m.role }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for i in nums %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}", "{% for i in nums %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}", "{% for i in [1,1,2] %}{{ loop.changed(i) }}{% endfor %}", "{% for i in nums %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for i in nums %}{% for j in nums %}{{ loop.index }}{{ loop.depth }}{% endfor %}{{ loop.depth0 }}{% endfor %}", "{% for i in nums %}{% set o = loop %}{% for j in nums %}{{ o.index }}.{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in nums %}{% for j in nums %}{% if j == 1 %}{% break %}{% endif %}{{ j }}{% endfor %};{% endfor %}", "{% for n in tree recursive %}{{ n.v }}{{ loop.depth }}{% if n.kids %}({{ loop(n.kids) }}){% endif %}{% endfor %}", "{% for i in missing %}x{% else %}y{% endfor %}", "{% for i in nums %}{{ loop }}{% break %}{% endfor %}"[:0] + "{% for i in nums|sort %}{{ i }}{% endfor %}",
    "{% set x = 1 %}{% for i in nums %}{% set x = i %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(x=0) %}{% for i in nums %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "{% for i in nums %}{{ x is defined }}{% set x = 1 %}{% endfor %}", "{% for i in nums %}{% set n = n + i %}{{ n }} {% endfor %}{{ n }}", "{% for i in nums %}{% endfor %}{{ i is defined }}", "{% for n in nums %}{{ n }}{% endfor %}{{ n }}", "{% for g, l in people|groupby('age') %}{{ g }}:{{ l|length }} {% endfor %}", "{% for row in range(5)|batch(2) %}{{ row }}{% endfor %}", "{% for i in nums|map('string') %}{{ loop.length }}{{ i }}{% endfor %}", "{% set g = nums|map('string') %}{{ g|list }}{{ g|list }}", "{% set g = nums|select('odd') %}{{ g|first }}{{ g|list }}",
    "{% for i in nums %}{% if loop.first %}F{% elif loop.last %}L{% else %}M{% endif %}{% endfor %}", "{% for i in (1,2) %}{{ i }}{% endfor %}", "{% for i in 1, 2 %}{{ i }}{% endfor %}", "{% for x in [[1,2],[3]] %}{% for y in x %}{{ y }}{% else %}E{% endfor %}|{% endfor %}", "{% for i in nums %}{% else %}{% endfor %}", "{% for m in messages[1:] %}{{ m.role }}{% endfor %}", "{% for m in messages|reverse %}{{ m.role }}{% endfor %}", "{% for k, v in d|dictsort %}{{ k }}{{ v }}{% endfor %}", "{% for k, v in d|items %}{{ k }}{{ v }}{% endfor %}",
    # if, set, with, filter, generation
    "{% if no %}a{% elif yes %}b{% else %}c{% endif %}", "{% if no %}a{% elif no %}b{% else %}c{% endif %}", "{% if nums %}t{% endif %}{% if [] %}t{% endif %}{% if '' %}t{% endif %}{% if {} %}t{% endif %}{% if 0.0 %}t{% endif %}", "{% if missing %}a{% else %}b{% endif %}", "{% if yes %}{% set z = 5 %}{% endif %}{{ z }}", "{% if no %}{% set z = 5 %}{% endif %}{{ z }}|", "{% if 1 in nums and 'a' not in word %}x{% endif %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set (a, b) = [1, 2] %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set x %}  a {{ n }}\n{% endset %}[{{ x }}]", "{% set x | upper | replace('A','B') %}aab{% endset %}{{ x }}", "{% set x = [] %}{% set x = x + [1] %}{{ x }}", "{% set ns = namespace(a=1, b=[]) %}{% set ns.b = ns.b + [ns.a] %}{{ ns.b }}", "{% set x %}{% set y = 1 %}{% endset %}{{ y is defined }}", "{% set x = 'a' if no %}{{ x }}|{{ x is defined }}", "{% set ns = namespace() %}{% set ns.x, y = 1, 2 %}{{ ns.x }}{{ y }}", "{% set x = missing %}{{ x }}|", "{% set word = word ~ '!' %}{{ word }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}", "{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% filter upper %}abc {{ word }}{% endfilter %}", "{% filter replace('a','b') | upper %}aa{% endfilter %}", "{% generation %}x{{ n }}{% endgeneration %}y", "a\n{% generation %}\nx\n{% endgeneration %}\nb", "{% generation %}{% set q = 1 %}{% endgeneration %}{{ q is defined }}", "{% for m in messages %}{%- generation -%} {{ m.role }} {%- endgeneration -%}{% endfor %}",
    # macros
    "{% macro f(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(b=1, a=2) }} {{ f() }}", "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}", "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}", "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}in {{ n }}{% endcall %}", "{% macro f(items) %}{% for i in items %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) f(nums) %}<{{ x }}>{% endcall %}", "{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}", "{% macro fact(n) %}{% if n <= 1 %}1{% else %}{{ n * fact(n - 1)|int }}{% endif %}{% endmacro %}{{ fact(5) }}",
    "{% macro f(x) %}{% set x = x + 1 %}{{ x }}{% endmacro %}{{ f(1) }}{{ x is defined }}", "{% set g = 1 %}{% macro f() %}{{ g }}{% endmacro %}{% set g = 2 %}{{ f() }}", "{% macro f() %}{{ n }}{% endmacro %}{{ f() }}", "{% for i in nums %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}", "{% macro f() -%}\n  x\n{%- endmacro %}[{{ f() }}]", "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}", "{% macro f(x) %}{{ x }}{% endmacro %}{{ f('a')|upper ~ f('b') }}", "{% macro f(x) %}{{ x is defined }}{% endmacro %}{{ f() }}{{ f(nil) }}{{ f(missing) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ nums|map('string')|map('upper')|join }}{{ f.name }}", "{% macro f(*a) %}{% endmacro %}", "{% macro f(x, y=[]) %}{{ x }}{{ y }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'x': 3}) }}", "{% macro f() %}{% set ns = namespace(r='') %}{% for i in nums %}{% set ns.r = ns.r ~ i %}{% endfor %}{{ ns.r }}{% endmacro %}{{ f() }}",
    "{% macro outer() %}{% macro inner() %}I{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}", "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% set c = cycler('a','b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set _ = c.reset() %}{{ c.current }}", "{% set j = joiner(', ') %}{% for i in nums %}{{ j() }}{{ i }}{% endfor %}", "{% macro f(role) %}{{ '<|' + role + '|>' }}{% endmacro %}{% for m in messages %}{{ f(m.role) }}{% endfor %}",
    # errors in statements
    "{% if %}{% endif %}", "{% if 1 %}", "{% for %}{% endfor %}", "{% for x %}{% endfor %}", "{% for x in %}{% endfor %}", "{% endfor %}", "{% else %}", "{% nope %}", "{% do 1 %}", "{% set %}", "{% set x %}", "{% set x = %}", "{% set 1 = 2 %}", "{% set true = 1 %}", "{% set n.x = 1 %}", "{% set q.x = 1 %}", "{% set d.a = 1 %}", "{% break %}", "{% continue %}", "{% for loop in nums %}{% endfor %}", "{% macro %}{% endmacro %}", "{% macro f(a=1, b) %}{% endmacro %}", "{% macro f(1) %}{% endmacro %}", "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{% endmacro %}{{ f(z=2) }}", "{% macro f(a) %}{% endmacro %}{{ f(1, a=2) }}", "{% macro f(a) %}{{ a.b }}{% endmacro %}{{ f() }}", "{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}", "{% macro f() %}x{% endmacro %}{% call f() %}y{% endcall %}", "{% call 1 %}{% endcall %}", "{% call n() %}{% endcall %}", "{{", "{%", "{#", "{{ 1", "{% if 1 %}{{ }}{% endif %}", "{{ 'a }}", "{% raw %}", "{% if 1 %}{% endfor %}", "{% for i in 5 %}{% endfor %}", "{% for a, b in nums %}{% endfor %}", "{% for a, b in [[1,2,3]] %}{% endfor %}", "{% set a, b = [1] %}", "{% for i in nums %}{{ loop(nums) }}{% endfor %}", "{{ loop.index }}", "{% for i in nums %}{{ loop.zz.x }}{% endfor %}", "{% filter nope %}{% endfilter %}", "{% for i in nums %}{{ loop.cycle() }}{% endfor %}", "{% generation %}x", "{{ a }", "{% if yes }}x{% endif %}", "{% if yes %}x{% endif }", "{% with a %}{% endwith %}", "{% if yes %}{% endif %}{% endif %}", "{% for i in nums %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}", "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('no ' ~ m.role) }}{% endif %}{% endfor %}", "{% set ns = namespace(x=1) %}{{ ns.y.z }}", "x\n\n{{ missing.y }}",
    # whole small chat templates
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + (message['content'] or '') + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{%- if messages[0]['role'] == 'system' -%}\n  {%- set sys = messages[0]['content'] | trim -%}\n  {%- set loop_messages = messages[1:] -%}\n{%- else -%}\n  {%- set loop_messages = messages -%}\n{%- endif -%}\n{%- for m in loop_messages -%}\n  {%- if m.content is not none -%}\n    {{ '[INST] ' + (sys + '\n\n' if loop.first and sys is defined else '') + m.content + ' [/INST]' }}\n  {%- endif -%}\n{%- endfor -%}",
    "{%- for tool in tools %}\n{{- tool | tojson(indent=2) }}\n{%- set p = tool.function.parameters.properties %}\n{%- for k, v in p.items() %}\n- {{ k }}: {{ v.type }} ({{ v.enum | join('|') }})\n{%- endfor %}\n{%- endfor %}\n",
    "{%- macro render(x, level=0) -%}\n{%- if x is mapping -%}\n{%- for k, v in x.items() -%}{{ '  ' * level ~ k ~ ':\n' }}{{ render(v, level + 1) }}{%- endfor -%}\n{%- elif x is iterable and x is not string -%}\n{%- for v in x -%}{{ render(v, level + 1) }}{%- endfor -%}\n{%- else -%}{{ '  ' * level ~ x ~ '\n' }}{%- endif -%}\n{%- endmacro -%}\n{{ render(messages) }}{{ render(tools) }}",
    "{% set ns = namespace(found=false, last=-1) %}{% for m in messages[::-1] %}{% set i = (messages|length - 1) - loop.index0 %}{% if not ns.found and m.role == 'user' and m.content is string and not (m.content.startswith('<x>') and m.content.endswith('</x>')) %}{% set ns.found = true %}{% set ns.last = i %}{% endif %}{% endfor %}{{ ns.last }}{{ ns.found }}",
]


def expressions(text):
    """Lines of ` | `-separated expressions; a filter's bar has no spaces around it. Quoted bars stay whole."""
    for line in text.strip("\n").split("\n"):
        parts, open_quote, start, i = [], None, 0, 0
        while i < len(line):
            c = line[i]
            if open_quote:
                if c == "\\":
                    i += 1
                elif c == open_quote:
                    open_quote = None
            elif c in "'\"":
                open_quote = c
            elif line[i : i + 3] == " | ":
                parts.append(line[start:i])
                start = i + 3
            i += 1
        parts.append(line[start:])
        yield from (part.strip() for part in parts if part.strip())


def main():
    env = environment()
    sources = ["{{ " + e + " }}" for e in [*expressions(EXPRESSIONS), *expressions(ERRORS)]] + TEMPLATES + list(jinja_generated.sources()) + list(jinja_generated.readable())
    cases, seen = [], set()
    for source in sources:
        if source in seen:
            continue
        seen.add(source)
        try:
            # A copy, since not all of jinja2 leaves its input alone: `list|indent` appends to the list.
            rendered = env.from_string(source).render(**copy.deepcopy(CONTEXT), add_generation_prompt=True)
            # An address is nothing to compare; integers beyond 64 bits and complex numbers are not supported.
            if " at 0x" in rendered or re.search(r"\d{20}|\dj\)", rendered):
                continue
            cases.append({"template": source, "output": rendered})
        except Exception as error:  # every kind counts: the interpreter must fail where jinja2 fails
            cases.append({"template": source, "error_type": type(error).__name__, "error": str(error)})
    out = {"made_by": "tests/golden/make_jinja_golden.py with jinja2 " + jinja2.__version__,
           "now_local_s": int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp()), "context": CONTEXT, "cases": cases}
    path = pathlib.Path(__file__).resolve().parents[1] / "data" / "jinja" / "snippets.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
    head = ",\n".join(f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in out.items() if k != "cases")
    path.write_text("{\n" + head + ',\n "cases": [\n' + lines + "\n ]\n}\n", encoding="utf-8")
    print(f"{len(cases)} cases, {sum('error' in c for c in cases)} of them errors, in {path}")


if __name__ == "__main__":
    main()
