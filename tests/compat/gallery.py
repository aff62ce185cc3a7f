"""One project of many directories: every shape of pipeline file that people write, small enough to run in a second.

Each directory has its own dvc.yaml; ``dvc repro -P`` runs them all.
"""

COPY = 'python3 -c "import sys,shutil; shutil.copy(*sys.argv[1:3])"'

GET_STARTED = {
    "start/data/data.xml": "<row id='1'/>\n<row id='2'/>\n",
    "start/src/stage.py": """\
import json, os, sys
name, *rest = sys.argv[1:]
for path in rest:
    folder, base = os.path.split(path)
    os.makedirs(folder or ".", exist_ok=True)
    if base.endswith(".json"):
        json.dump({"avg_prec": {"train": 0.97, "test": 0.9014}, "step": 1}, open(path, "w"))
    else:
        open(path, "wb").write(f"{name} {base}\\n".encode())
""",
    "start/params.yaml": """\
prepare:
  split: 0.20
  seed: 20170428

featurize:
  max_features: 200
  ngrams: 2

train:
  seed: 20170428
  n_est: 50
  min_split: 0.01
""",
    "start/dvc.yaml": """\
stages:
  prepare:
    cmd: python3 src/stage.py prepare data/prepared/train.tsv data/prepared/test.tsv
    deps:
    - data/data.xml
    - src/stage.py
    params:
    - prepare.seed
    - prepare.split
    outs:
    - data/prepared
  featurize:
    cmd: python3 src/stage.py featurize data/features/train.pkl data/features/test.pkl
    deps:
    - data/prepared
    - src/stage.py
    params:
    - featurize.max_features
    - featurize.ngrams
    outs:
    - data/features
  train:
    cmd: python3 src/stage.py train model.pkl
    deps:
    - data/features
    - src/stage.py
    params:
    - train.min_split
    - train.n_est
    - train.seed
    outs:
    - model.pkl
  evaluate:
    cmd: python3 src/stage.py evaluate eval/metrics.json eval/plots/images/importance.png eval/plots/sklearn/roc/train.json eval/plots/sklearn/cm/test.json
    deps:
    - data/features
    - model.pkl
    - src/stage.py
    outs:
    - eval/plots/images
    - eval/plots/sklearn/cm:
        cache: false
    - eval/plots/sklearn/roc:
        cache: false
    metrics:
    - eval/metrics.json:
        cache: false
params:
- params.yaml
metrics:
- eval/metrics.json
plots:
- eval/plots/images
- Confusion matrix:
    template: confusion
    x: actual
    y:
      eval/plots/sklearn/cm/test.json: predicted
- ROC:
    template: simple
    x: fpr
    y:
      eval/plots/sklearn/roc/train.json: tpr
artifacts:
  text-classification:
    path: model.pkl
    desc: Detect whether the given post is about R.
    type: model
    labels: [nlp, classification]
""",
}

OUTPUTS = {
    "outputs/make.sh": """\
#!/bin/sh
set -e
mkdir -p tree/deep/er empty
printf 'a\\r\\nb\\n' > tree/deep/er/a.txt
printf '\\0\\1' > "tree/deep/b b.bin"
printf x > "tree/ünï'ç.txt"
: > tree/nothing
echo '{"loss": 0.5}' > scores.json
printf 'step\\tloss\\n0\\t1\\n1\\t0.5\\n' > curve.tsv
printf '#!/bin/sh\\necho hi\\n' > tool
chmod +x tool
printf 'x' > 'sp ace [1].txt'
printf 'x' > größe.txt
: > void
""",
    "outputs/dvc.yaml": """\
stages:
  make:
    cmd: ./make.sh
    deps: [make.sh]
    outs:
    - tree
    - empty
    - tool
    - sp ace [1].txt
    - größe.txt
    - void
    metrics:
    - scores.json
    plots:
    - curve.tsv:
        x: step
        y: loss
        title: "Loss: curve"
        header: true
  after:
    cmd: cat tree/nothing tree/deep/er/a.txt > sub.txt && cp tool tool2
    deps:
    - tree/deep
    - tree/nothing
    - tool
    outs:
    - sub.txt:
        desc: a description
        type: text
        labels: [a, b]
        meta: {k: [1, 2]}
        push: false
        remote: other
    - tool2:
        cache: false
""",
}

PARAMS = {
    "params/params.yaml": """\
lr: 0.0001
tiny: 1e-5
big: 1e16
large: 1e15
third: 0.30000000000000004
n: 10_000_000
hex: 0x1F
oct: 0o17
neg: -0.0
inf: .inf
none: null
tilde: ~
yes: yes
on: 'on'
t: true
empty: ''
one: '1'
flt: '1e3'
nul: 'null'
colon: "a: b"
hash: "a #b"
time: 12:30:00
multi: "line one\\nline two\\n"
tab: "a\\tb"
uni: "é ☃ 日本"
emoji: "\\U0001F600"
quote: "it's"
dquote: 'say "hi"'
star: "*x"
long: aaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbb ccccccccccccccccccccccccc ddddddddddddddddddd eeeeeeeeeeeeeee
list: [1, 2.5, x, null, true, [a, [b]], {k: v}]
blank: []
nothing: {}
nested:
  a:
    b: {c: 1, d: [x, y]}
    e: 2
  ints: {10: ten, 9: nine}
'quoted key': 1
dash-key: 2
""",
    "params/other.json": '{"a": {"b": [1, 2, {"c": null}]}, "f": 1.0, "e": 1e-07, "s": "\\u00e9"}',
    "params/conf.toml": 'title = "x"\n[a]\nb = 1.5\nc = [1, 2]\nwhen = 1979-05-27T07:32:00\n[a.d]\ne = true\n',
    "params/conf.py": """\
LR = 0.5
NAME = "x"
SIZES = (1, 2)
LIST = [1, "b", None]
FLAG = True
D = {"a": 1, "b": {"c": 2}}

class Train:
    epochs: int = 3
    def __init__(self):
        self.layers = 5
""",
    # The same mapping twice: DVC writes an anchor and an alias into dvc.lock, pyexp the mapping twice.
    "shared/params.yaml": "one: &a {k: [1, 2]}\ntwo: *a\n",
    "shared/dvc.yaml": "stages:\n  s:\n    cmd: echo s > s.txt\n    params: [one, two, one.k]\n    outs: [s.txt]\n",
    "params/whole.yaml": "z: 1\na: {b: 2}\nm: [1]\n",
    "params/dvc.yaml": """\
stages:
  twice:
    cmd: echo twice > twice.txt
    params:
    - nested.a
    - nested.a.b.c
    outs: [twice.txt]
  all:
    cmd: echo params > out.txt
    params:
    - whole.yaml:
    - conf.py:
      - LR
      - NAME
      - SIZES
      - LIST
      - FLAG
      - D
      - D.b.c
      - Train.epochs
      - Train.layers
    - nested
    - list
    - other.json:
      - a
      - e
      - a.b.2.c
      - f
      - s
    - conf.toml:
      - a.b
      - a.d
      - title
      - a.c
    - lr
    - tiny
    - big
    - large
    - third
    - n
    - hex
    - oct
    - neg
    - inf
    - none
    - tilde
    - 'yes'
    - 'on'
    - t
    - empty
    - one
    - flt
    - nul
    - colon
    - hash
    - time
    - multi
    - tab
    - uni
    - emoji
    - quote
    - dquote
    - star
    - long
    - blank
    - nothing
    - quoted key
    - dash-key
    outs:
    - out.txt
""",
}

COMMANDS = {
    "commands/in.txt": "in\n",
    "commands/dvc.yaml": """\
stages:
  many:
    cmd:
    - echo one > many.txt
    - |
      X=two
      echo $X >> many.txt
    - 'echo "a: b" >> many.txt'  # comment
    deps: [in.txt]
    outs: [many.txt]
  lines:
    cmd: |
      echo one > lines.txt
      echo two >> lines.txt
    deps: [in.txt]
    outs: [lines.txt]
  folded:
    cmd: >-
      echo aaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
      cccccccccccccccccccc dddddddddddddddddddddddddddd
      --eeeeeeeeeeeeeeeeeee=1 --ffffffffffffffffffff=2 --ggggggggggggggggggggggggg=3 --hhhhhhhhhhhhh=4
      > folded.txt
    deps: [in.txt]
    outs: [folded.txt]
  unbroken:
    cmd: echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa > unbroken.txt
    deps: [in.txt]
    outs: [unbroken.txt]
  quoted:
    cmd: "echo 'it is: \\"x\\"' '#no' [c] \\u00e9 aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbb ccccccccccccccccc: dddddd > quoted.txt"
    deps: [in.txt]
    outs: [quoted.txt]
  single:
    cmd: ["echo single > single.txt"]
    deps: [in.txt]
    outs: [single.txt]
  spaces:
    cmd: "  echo   spaces   >  spaces.txt  "
    deps: [in.txt]
    outs: [spaces.txt]
  tabs:
    cmd: "echo\\ttabs > tabs.txt"
    deps: [in.txt]
    outs: [tabs.txt]
""",
}

TEMPLATES = {
    "templates/params.yaml": """\
models:
  us: {thresh: 10, path: us.csv}
  gb: {thresh: 15, path: gb.csv}
names: [a, b, 3, true, 1.5]
flags: {lr: 0.1, deep: {x: [1, 2], on: true, off: false, 'none': null}, name: two words}
lst: [7, 8, 9]
lr: 0.0001
big: 10000000
dir: made
""",
    "templates/extra.yaml": "extra: {one: 1, two: 2}\nother: x\n",
    "templates/dvc.yaml": """\
vars:
- extra.yaml:extra
- inline: {word: hi, n: 3}
- pre: out
stages:
  build:
    foreach: ${models}
    do:
      cmd: echo ${key} ${item.thresh} > ${item.path}
      outs:
      - ${item.path}
  list:
    foreach: ${names}
    do:
      cmd: echo ${item} > list-${item}.txt
      outs: ["list-${item}.txt"]
  objects:
    foreach:
    - {name: x, v: 1}
    - {name: y, v: 2}
    do:
      cmd: echo ${item.v} > object-${item.name}.txt
      outs:
      - object-${item.name}.txt:
          cache: false
  grid:
    matrix:
      model: [cnn, xgb]
      size: [1, 2.5]
      opt: [{a: 1}, {a: 2}]
    cmd: echo ${item.model} ${item.size} ${item.opt.a} ${key} > grid-${key}.txt
    outs:
    - grid-${key}.txt
  unpack:
    cmd: echo ${flags} ${lr} ${big} ${lst[0]} ${lst.1} ${lst[-1]} ${ inline.word } \\${kept} ${extra.two} > ${pre}-unpack.txt
    params: [flags.lr]
    outs:
    - ${pre}-unpack.txt
  local:
    vars:
    - mine: 5
    wdir: wd/${dir}
    cmd: echo ${mine} > local.txt
    deps: [../../params.yaml]
    outs: [local.txt]
""",
    "templates/wd/made/.keep": "",
}

RULES = {
    "rules/params.yaml": "p: 1\n",
    "rules/sub/params.yaml": "p: 2\nq: 3\n",
    "rules/sub/in.txt": "in\n",
    "rules/in.txt": "in\n",
    "rules/dvc.yaml": """\
# comment at the top
stages:
  wdir:
    cmd: cat in.txt > ../moved.txt && cat in.txt > here.txt
    wdir: sub
    deps:
    - in.txt
    - ../in.txt
    params:
    - q
    - ../params.yaml:
      - p
    outs:
    - ../moved.txt
    - here.txt
  keep:
    cmd: echo more >> kept.txt
    deps: [in.txt]
    outs:
    - kept.txt:
        persist: true
  open:
    cmd: echo open > open.txt
    deps: [in.txt]
    outs:
    - open.txt:
        cache: false
  always:
    cmd: echo always > always.txt
    always_changed: true
    deps: [in.txt]
    outs: [always.txt]
  callback:
    cmd: echo called > called.log
  nodeps:
    cmd: echo nodeps > nodeps.txt
    desc: no deps at all
    meta: {a: 1}
    outs: [nodeps.txt]
  noouts:
    cmd: test -f in.txt
    deps: [in.txt]
  onlyparams:
    cmd: echo onlyparams > onlyparams.txt
    params: [p]
    outs: [onlyparams.txt]
  live:
    cmd: mkdir -p dvclive/plots && echo '{"a":1}' > dvclive/metrics.json && echo x > dvclive/plots/x.tsv
    deps: [in.txt]
    metrics:
    - dvclive/metrics.json:
        cache: false
    plots:
    - dvclive/plots:
        cache: false
""",
    "rules/.gitignore": "/called.log",
}

MONOREPO = {
    "mono/lib/common.txt": "common\n",
    "mono/one/dvc.yaml": "stages:\n  make:\n    cmd: cat ../lib/common.txt > one.txt\n    deps: [../lib/common.txt]\n    outs: [one.txt]\n",
    "mono/two/dvc.yaml": """\
stages:
  zed:
    cmd: cat ../one/one.txt > two.txt
    deps: [../one/one.txt]
    outs: [two.txt]
  make:
    cmd: cat two.txt > three.txt
    deps: [two.txt]
    outs: [three.txt]
""",
    "mono/ignored/.dvcignore": "*.tmp\n/skip\n",
    "mono/ignored/dvc.yaml": "stages:\n  count:\n    cmd: ls -A tree | wc -l > count.txt\n    deps: [tree]\n    outs: [count.txt]\n",
    "mono/ignored/tree/a.txt": "a",
    "mono/ignored/tree/b.tmp": "b",
    "mono/ignored/skip/dvc.yaml": "stages: {never: {cmd: false}}\n",
}

ALL = {**GET_STARTED, **OUTPUTS, **PARAMS, **COMMANDS, **TEMPLATES, **RULES, **MONOREPO}
