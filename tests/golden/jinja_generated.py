"""Snippets that are enumerated rather than written: every filter, test and method over values of every kind, slices,
signs of whitespace control, loops with all their variables, and what undefined does. make_jinja_golden.py renders them.
"""
import random

VALUES = ["n", "neg", "0", "pi", "-0.0", "1e20", "2.5", "yes", "nil", "missing", "d.missing", "''", "word", "uni", "lines", "nums", "[]",
          "(1, 'b')", "d", "{}", "mixed", "people", "range(4)", "d.items()", "tabs", "'12'", "' 3.5 '", "'0x1f'", "'ŒUVRE ǆ ß'", "namespace(a=1).a"]

FILTERS = {
    "abs": [""], "attr": ["('b')", "('upper')"], "batch": ["(2)|list", "(3, 'x')|list", "(0)|list"], "capitalize": [""], "center": ["(9)", "(width=4)"],
    "count": [""], "d": ["('z')", "('z', true)"], "default": ["('z')", "(boolean=true)"], "dictsort": ["", "(true)", "(by='value')", "(reverse=true)"],
    "e": [""], "escape": [""], "first": [""], "float": ["", "(7)"], "forceescape": [""], "format": ["(1, 2)", "('a')"],
    "groupby": ["('age')", "('name', case_sensitive=true)", "(0)"], "indent": ["", "(2)", "('> ')", "(1, true)", "(1, false, true)"], "int": ["", "(5)", "(default=9, base=16)"],
    "items": ["|list"], "join": ["", "('-')", "(', ', attribute='name')", "(n)"], "last": [""], "length": [""], "list": [""], "lower": [""],
    "map": ["('string')|list", "(attribute='name')|list", "('upper')|join", "(attribute='x.y', default=0)|list"], "max": ["", "(attribute='age')"], "min": ["", "(case_sensitive=true)"],
    "reject": ["|list", "('odd')|list"], "rejectattr": ["('age')|list", "('age', 'gt', 26)|map(attribute='name')|list"], "replace": ["('l', 'L')", "('', '.')", "('l', 'L', 1)"],
    "reverse": ["|list", ""], "round": ["", "(1)", "(2, 'floor')", "(0, 'ceil')", "(-1)"], "safe": [""], "select": ["|list", "('number')|list"],
    "selectattr": ["('age')|list", "('name', 'in', ['Bo'])|map(attribute='age')|list"], "slice": ["(2)|list", "(3, 'x')|list"], "sort": ["", "(true)", "(attribute='age,name')|map(attribute='name')|list"],
    "string": [""], "sum": ["", "(attribute='age')", "(start=10)"], "title": [""], "trim": ["", "('o ')", "(chars='3')"], "truncate": ["(5)", "(5, true)", "(7, false, '…', 0)"],
    "tojson": ["", "(indent=2)", "(2)", "(indent=0)", "(separators=(',', ':'))", "(sort_keys=true)", "(indent=1, sort_keys=true, ensure_ascii=true)", "(ensure_ascii=true)"],
    "unique": ["|list", "(attribute='age')|list"], "upper": [""], "wordcount": [""],
}

TESTS = ["boolean", "callable", "defined", "undefined", "divisibleby(3)", "eq(3)", "escaped", "even", "odd", "false", "true", "filter", "float", "ge(2)",
         "gt('a')", "in(nums)", "in(word)", "integer", "iterable", "le(2)", "lower", "upper", "lt(2.5)", "mapping", "ne(nil)", "none", "number", "sameas(nil)",
         "sequence", "string", "test", "==(3)", "!= 3"]

STR_METHODS = {
    "capitalize": ["()"], "casefold": ["()"], "center": ["(11, '*')", "(3)"], "count": ["('l')", "('')", "('l', 3)", "('o', -4, -1)"], "endswith": ["('d')", "(('x', 'd'))", "('')", "('o', 0, 5)"],
    "find": ["('l')", "('zz')", "('o', 5)", "('', 3)"], "format": ["(1)"], "index": ["('l')", "('zz')"], "isalnum": ["()"], "isalpha": ["()"], "isascii": ["()"], "isdecimal": ["()"], "isdigit": ["()"],
    "islower": ["()"], "isnumeric": ["()"], "isspace": ["()"], "istitle": ["()"], "isupper": ["()"], "join": ["(['a', 'b'])", "('xyz')", "([1])", "(d)"], "ljust": ["(14, '.')"], "lower": ["()"],
    "lstrip": ["()", "('he')"], "partition": ["('o')", "('zz')", "('')"], "removeprefix": ["('he')", "('x')"], "removesuffix": ["('ld')"], "replace": ["('l', '')", "('', '-')", "('o', '0', 1)", "('o', '0', -1)"],
    "rfind": ["('l')", "('o', 0, 5)"], "rindex": ["('zz')"], "rjust": ["(14)"], "rpartition": ["('o')", "('zz')"], "rsplit": ["()", "('o', 1)", "(none, 1)"], "rstrip": ["()", "('dl')"],
    "split": ["()", "('o')", "('o', 1)", "(none, 1)", "('')", "(sep=' ', maxsplit=1)", "('\\n')"], "splitlines": ["()", "(true)"], "startswith": ["('he')", "(('x', 'h'))", "('l', 2)"], "strip": ["()", "('hd')"],
    "swapcase": ["()"], "title": ["()"], "upper": ["()"], "zfill": ["(14)", "(2)"],
}
STR_SUBJECTS = ["word", "uni", "empty", "tabs", "lines", "'-12'", "'Ab Cd'", "'ŒUVRE ǆ ß ﬁ'", "'١٢'", "'a\\u2028b\\x1cc\\r\\nd\\re'"]

NUMBERS = ["0", "1", "-1", "3", "-7", "10", "123456789", "0.0", "-0.0", "0.5", "1.5", "2.5", "-2.5", "1e-5", "1e-4", "123456.789", "1e15", "1e16", "1.7976931348623157e308", "0.1", "100.0", "true"]
FORMATS = ["'%d'", "'%5d|'", "'%-5d|'", "'%05d'", "'%+d'", "'%x'", "'%o'", "'%s'", "'%r'", "'%f'", "'%.0f'", "'%.3f'", "'%e'", "'%g'", "'%10.2f|'", "'%i%%'", "'%.3s'", "'%c'"]
BRACES = ["'{}'", "'{:d}'", "'{:>8}|'", "'{:<8}|'", "'{:^9}|'", "'{:08.3f}'", "'{:,}'", "'{:.2%}'", "'{:e}'", "'{:g}'", "'{:x}'", "'{:#x}'", "'{:+}'", "'{!r:>6}'", "'{0}{0}'", "'{:_}'", "'{:b}'"]

LOOP = "{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.changed(x) }}{{ loop.cycle('a', 'b') }};"


def products(rng, *lists, most):
    everything = [()]
    for values in lists:
        everything = [e + (v,) for e in everything for v in values]
    return everything if len(everything) <= most else rng.sample(everything, most)


def expressions(rng):
    calls = [(f, a) for f, arguments in FILTERS.items() for a in arguments]
    for value, (name, arguments) in products(rng, VALUES, calls, most=640):
        yield f"{value if value[0] != '-' else '(' + value + ')'}|{name}{arguments}"
    for value, test in products(rng, VALUES, TESTS, most=260):
        yield f"{value} is {test}"
    calls = [(m, a) for m, arguments in STR_METHODS.items() for a in arguments]
    for subject, (name, arguments) in products(rng, STR_SUBJECTS, calls, most=300):
        yield f"{subject}.{name}{arguments}"
    bounds = ["", "-9", "-2", "0", "1", "2", "9"]
    for sequence, start, stop, step in products(rng, ["nums", "uni", "(1, 2, 3, 4, 5)", "range(6)"], bounds, bounds, ["", ":", ":1", ":2", ":-1", ":-2", ":0"], most=150):
        yield f"{sequence}[{start}:{stop}{step}]" + ("|list" if sequence.startswith("range") else "")
    for a, op, b in products(rng, NUMBERS, ["+", "-", "*", "/", "//", "%", "**", "<", "==", ">="], NUMBERS[:17], most=220):
        if op != "**" or b not in ("123456789", "123456.789"):
            yield f"{a} {op} {b}"
    for number, shown in products(rng, NUMBERS, ["{}", "{}|string", "{}|tojson", "[{}]", "{} ~ ''", "{}|int", "{}|float", "{}|round(2)", "{}|round", "({}) is integer", "-{}"], most=120):
        yield shown.format(number)
    for form, number in products(rng, FORMATS, NUMBERS[:18] + ["word", "nil", "(1, 2)"], most=120):
        yield f"{form} % {number}"
    for form, number in products(rng, BRACES, NUMBERS[:18] + ["word", "nil", "nums"], most=120):
        yield f"{form}.format({number})"
    for left, op, right in products(rng, VALUES, ["+", "~", "<", "==", "!=", "in", "not in", "and", "or", "*"], VALUES, most=260):
        yield f"{left} {op} {right}"
    for a, b, c in products(rng, ["1", "2", "'a'", "nil"], [" < ", " <= ", " == ", " != ", " in "], ["1", "2", "nums", "word"], most=60):
        yield f"1 < 2{b}{a}{b}{c}"
    for chain in products(rng, ["missing", "d.missing", "d['nope']", "nums[9]", "messages[0].nope", "word[99]"],
                          ["{}", "{} is defined", "{}|default('x')", "{} or 'x'", "not {}", "{} == missing", "{} ~ 'x'", "{} + 'x'", "{}.a", "{}['a']", "{}()", "{}|length", "{}|list", "{}|join", "{}|upper",
                           "{}|int", "-{}", "{} in nums", "'a' in {}", "[{}]", "{{'k': {}}}", "{}|tojson", "{} if {} else 'e'", "{}|string", "{}|trim", "{}[1:]", "{} > 1", "{}|first", "{}|sort", "{}|map('upper')|list"], most=150):
        yield chain[1].replace("{}", chain[0])


def statements(rng):
    for before, open_, close, after in products(rng, ["", "a", "a\n", "a\n  ", " \t"], ["", "-", "+"], ["", "-", "+"], ["b", "\nb", "\n\n  b", "  b\n"], most=110):
        yield f"{before}{{%{open_} if yes {close}%}}{after}{{%{open_} endif {close}%}}{after}"
        yield f"{before}{{#{open_} c {close}#}}{after}"
        if close != "+":
            yield f"{before}{{{{{open_} n {close}}}}}{after}"
    for items, extra, inner in products(rng, ["nums", "[]", "'ab'", "range(3)", "d", "[1, 1, 2]", "nums|map('string')", "missing", "people|map(attribute='age')"],
                                        ["", " if x", " if x != 1"], ["", "{% if loop.index == 2 %}{% break %}{% endif %}", "{% if loop.first %}{% continue %}{% endif %}", "{% for y in [x, x] %}{{ loop.index }}{{ y }}{% else %}E{% endfor %}"], most=90):
        yield f"{{% for x in {items}{extra} %}}{inner}{LOOP}{{% else %}}none{{% endfor %}}{{{{ x is defined }}}}"
    bodies = ["a{{ n }}", "\n  a\n", "{% for x in nums %}{{ x }}{% endfor %}", "{% set q = 1 %}{{ q }}", "{{ missing }}", "{{ ns.v }}{% set ns.v = ns.v + 1 %}", "{{ caller is defined }}"]
    frames = ["{%% set t %%}%s{%% endset %%}[{{ t }}]{{ q is defined }}", "{%% set t | trim | upper %%}%s{%% endset %%}[{{ t }}]", "{%% filter upper | replace('A', 'z') %%}%s{%% endfilter %%}{{ q is defined }}",
              "{%% macro m(x=n) %%}<{{ x }}{{ caller(1) if caller is defined }}>{%% endmacro %%}{%% call(k) m() %%}%s{{ k }}{%% endcall %%}{{ m(2) }}", "{%% with q = 2 %%}%s{%% endwith %%}{{ q is defined }}",
              "{%% generation %%}%s{%% endgeneration %%}{{ q is defined }}", "{%% for i in nums %%}%s{%% endfor %%}{{ ns.v }}", "{%% if yes %%}%s{%% endif %%}{{ q is defined }}",
              "{%% for i in [1] %%}{%% for j in [1, 2] %%}%s{%% set ns.v = ns.v * 2 %%}{%% endfor %%}{%% endfor %%}{{ ns.v }}", "{%% macro m() %%}%s{%% endmacro %%}{{ m()|trim }}{{ m()|length }}{{ q is defined }}"]
    for frame, body, second in products(rng, frames, bodies, ["", *bodies[:4]], most=200):
        yield "{% set ns = namespace(v=1) %}" + frame % (body + second)
    tails = ["{{ loop(x.kids) }}", "{% if x.kids %}({{ loop(x.kids)|trim }}){% endif %}", "{% set k %}{{ loop(x.kids) }}{% endset %}{{ k|length }}", "{{ loop.depth }}{{ loop(x.kids)|upper }}{{ loop.index }}"]
    for tail, sep in products(rng, tails, ["", "-", "\n"], most=20):
        yield f"{{% for x in tree recursive %}}{{{{ x.v }}}}{sep}{tail}{{% else %}}.{{% endfor %}}"


def sources():
    rng = random.Random(20240726)
    yield from ("{{ " + e + " }}" for e in expressions(rng))
    yield from statements(rng)


# The filters for people who read: sizes, wrapped and pretty text, HTML, addresses. Enumerated apart, after all others.
READABLE = {
    "filesizeformat": ["", "(true)", "(binary=1)"], "pprint": [""], "striptags": [""], "urlencode": [""],
    "urlize": ["", "(9)", "(-3)", "(nofollow=true)", "(target='_b\"', rel='z  a noopener')", "(extra_schemes=['ftp:', 'tel://'])"],
    "wordwrap": ["", "(8)", "(width=4, break_long_words=false)", "(7, wrapstring=' | ')", "(6, break_on_hyphens=false)", "(5, true, '\\n', 1)", "(1)", "(0)"],
    "xmlattr": ["", "(false)"],
}
SIZES = ["0", "1", "-1", "1.0", "0.5", "999", "999.9", "1000", "1023", "1024", "1500", "2048", "999949", "999950", "1000000", "123456789", "1e9", "1.5e12", "1e15", "1e18", "1e21", "1e24", "1e27", "1e30", "1e300",
         "-5.5", "-1e4", "'2.5e3'", "' 12 '", "'inf'", "'nan'", "'-inf'", "'x'", "''", "true", "nil", "missing", "[]"]
MARKUP = ["'<b>bold</b> &amp; <i>x</i>'", "'a<!-- c > d -->b<!-- open'", "'  a\\n\\t b  <br/>  c '", "'1 < 2 > 1'", "'<unclosed'", "'&lt;b&gt; &#65;&#x42;&#x1F600; &#0; &#128; &#13; &#xD800; &#1114112; &#11; &#xFFFE; &#;'",
          "'&notit; &notin; &copy &copyx; &nosuch; &AMP &Amp; &; && &hellip;&acE;&NotEqualTilde;'", "'&amp;lt;'", "html", "uni", "'<a href=\\'>\\'>x</a>'", "'<<b>>'", "'x<>y'", "'\u00a0a\u3000b'"]
PLACES = ["'see http://example.com/a?b=c&d. And (https://x.org/y_(z)), ok'", "'www.foo.bar www.x www. WWW.Example.COM'", "'foo.com foo.info bar.xyz a.com ab.com. -b.org, x_y.net:8080/p#q y.com:123456 z.mil?'",
          "'mail me@x.org mailto:a.b@c.de, @a@b.com a@b a@b.c- a@-b.c <c@d.ee>'", "'http://1.2.3.4:80/x http://1234.1.1.1 http://[::1]/ http://[2001:db8::ff00:42:8329] http://[1:2:3:4:5:6:7:8:9] http://[:::::::::]'",
          "'((http://a.bc)) <http://a.bc> &lt;http://a.bc&gt; (http://a.bc/(x)).,) http://a.bc/((x'", "'HTTP://A.BC hTTps://x.y www.xn--ab1.com http://xn--p1ai http://a.xn--p1 http://a..bc http://.bc'",
          "'ftp://x.y tel://123 tel:// ftp:x ftp:'", "'http://exam\u017fple.c\u0131m/\u65e5 www.stra\u00dfe.d\u0130 \u0661.com \u212aab.\u212a'", "'a\\tb http://x.yz\\nwww.q.rs '", "'http://a%20b.cd http://a b.com \"http://q.rs\" \\'w@x.yz\\''", "html", "uni", "nil", "3.5", "missing", "nums"]
PROSE = ["'The quick brown fox jumps over the lazy dog.'", "'goof-ball well-known e-mail co-op x-y a-b-c-d-e ab--cd ef ---gh, ij--- k'", "'supercalifragilistic-expialidocious word'", "'a  b   c    d     e'", "'  leading and trailing   '",
         "'one\\ntwo three four\\n\\nfive'", "'----------'", "'ab-' ~ '-' * 9 ~ 'cd'", "'\u65e5\u672c\u8a9e \u65e5\u672c\u8a9e\u30c6\u30ad\u30b9\u30c8 \U0001f642'", "'tab\\tseparated\\tline'", "'x\u3000y \u00a0z \u3000 w'", "'\"quoted--dash\" it--is\\'--ok e--1'", "'a-1 b-c2 d3-ef gh-i_j k\u00e9-\u00e9l'",
         "''", "' '", "word", "lines", "tabs", "uni", "n", "nil", "missing"]
PAIRS = ["{'a': 1, 'b c': 'x/y&z', '\u00e9': nil}", "[('a', 1), ['b', 2]]", "['ab', 'cd']", "['abc']", "[1]", "[['a']]", "d.items()", "'a b/c~d_e-f.g!*()'", "'\u65e5\u672c \U0001f642 %'", "3.5", "nil", "missing", "true", "(1, 2)", "[]", "range(3)", "{(1, 2): 3}", "nums|map('string')", "['x', missing]"]
ATTRIBUTES = ["{'class': 'a b', 'id': 3, 'no': nil, 'miss': missing, 'q': '<\"&\\'>'}", "{'a b': 1}", "{'a/b': 1}", "{'a>': 1}", "{'a=': 1}", "{'\u00a0': 1}", "{'<\"': '\u00e9'}", "{1: 2}", "{'x': [1, '<']}", "{}", "{'only': nil}", "[]", "nil", "missing", "'x'"]
STRUCTURES = ["people", "tools", "messages", "tree", "mixed", "word * 12", "[word * 12]", "{'k': word * 12, 'other': [word * 9, nums * 9]}", "nums * 40", "(nums * 12, word * 8)", "(word * 12,)", "{2: 'b', 1: 'a', 'x': nil, nil: 0, 1.5: true, (1, 2): 'z' * 70}",
              "range(100)|list", "range(100)", "'\u65e5\u672c\u8a9e ' * 20", "'it\\'s ' * 30", "'a\\nb ' * 30", "('x' * 50 ~ ' ') * 3", "'x' * 100", "[('x' * 90), 'y']", "[[[[[[[[[[word * 7]]]]]]]]]]", "{'a' * 40: {'b' * 40: {'c' * 40: word * 5}}}", "missing", "nil", "[missing, 'x' * 80]", "{}", "''",
              "[[], {}, (), ''] * 20", "{'z': 1, 'y': {'b': 2, 'a': [3] * 30}}", "d.items()", "'\\r\\n' * 50", "['tab\\t' * 30]", "pi"]


def readable():
    pools = {"filesizeformat": SIZES, "pprint": STRUCTURES, "striptags": MARKUP, "urlencode": PAIRS, "urlize": PLACES, "wordwrap": PROSE, "xmlattr": ATTRIBUTES}
    for name, calls in READABLE.items():
        for value in pools[name] + [v for v in ("n", "word", "nums", "d", "nil", "missing") if v not in pools[name]]:
            for call in calls:
                yield "{{ " + (f"({value})" if value[0] in "-'(" else value) + f"|{name}{call} }}}}"
    rng = random.Random(9)
    for _ in range(60):
        words = ["".join(rng.choice(["a", "b", "-", "--", ".", "1", "\u00e9", "'", ","]) for _ in range(rng.randint(1, 9))) for _ in range(rng.randint(1, 14))]
        text = rng.choice([" ", "  "]).join(words).replace("'", "\\'")
        yield f"{{{{ '{text}'|wordwrap({rng.randint(1, 20)}, {rng.choice(['true', 'false'])}, '~', {rng.choice(['true', 'false'])}) }}}}"
    for _ in range(80):
        parts = ["http://", "https://", "www.", "a", "bc", ".", "com", "org", ":", "80", "/", "(", ")", "&", "<", ">", "@", "-", "%", "mailto:", "[", "]", "::1", ",", "1.2.3.4", "xn--"]
        yield "{{ '" + "".join(rng.choice(parts) for _ in range(rng.randint(2, 9))) + "'|urlize }}"
    yield from ("{{ [7]|random }}", "{{ ['a', 'a']|random }}", "{{ 'zzz'|random }}", "{{ (nums|random) in nums }}", "{{ []|random }}", "{{ ''|random is undefined }}", "{{ ([]|random).x }}", "{{ {}|random }}", "{{ d|random }}",
                "{{ {0: 'q'}|random }}", "{{ 5|random }}", "{{ nil|random }}", "{{ missing|random }}", "{{ range(1)|random }}", "{{ d.items()|random }}", "{{ (1,)|random }}", "{{ (nums|map('string'))|random }}",
                "{% filter wordwrap(5) %}some words here{% endfilter %}", "{{ [' <b>x</b> ']|map('striptags')|list }}")
