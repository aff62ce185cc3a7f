"""The lock file of the golden vectors (FORMATS.md §8)."""

LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python3 train.py
    deps:
    - path: data.txt
      hash: md5
      md5: b1946ac92492d2347c6235b4d2611184
      size: 6
    - path: train.py
      hash: md5
      md5: bf38da7290ef4d4d44a579bcd165e5bb
      size: 567
    params:
      params.yaml:
        lr: 0.1
        train.epochs: 3
    outs:
    - path: metrics.json
      hash: md5
      md5: 703ad02198d4b3a7c4bc5fa9a5b49f71
      size: 71
    - path: model
      hash: md5
      md5: 95e016555886ac500e19e9c4160304f1.dir
      size: 25
      nfiles: 2
    - path: plots.csv
      hash: md5
      md5: 49e018ebc28cbfd2c3c14eaf1c702c84
      size: 43
"""
