"""Pipeline specs, right and wrong, that the loader and the JSON Schema must judge alike."""
# ruff: noqa: E501 (whole outputs, as they are printed)

HEAD = "schema: 1\npipeline: net\nmodel: {source: models/net.onnx}\n"
TARGETS = "targets: {ada: {gpu: sm89}}\n"
KEYS = "schema, pipeline, model, transform, variants, profiles, targets, toolchains, builder, plugins, validate, package"

# Each case: the lines after a right beginning, and the whole error; `@` is the file and the line of the first.
REFUSED = {
    "unknown key": (
        "variant: {}\n",
        f"""\
        @:5:1: unknown key 'variant'
            variant: {{}}
            ^
          did you mean 'variants'? valid keys: {KEYS}
        """,
    ),
    "unknown nested key": (
        "builder:\n  optimisation_level: 3\n",
        """\
        @:6:3: unknown key 'optimisation_level'
              optimisation_level: 3
              ^
          did you mean 'optimization_level'? valid keys: optimization_level, workspace, tactic_shared_memory, tf32, profiling_verbosity, weight_streaming, sparse_weights, max_aux_streams, avg_timing_iterations, time_limit, memory_limit
        """,
    ),
    "missing nested key": (
        "toolchains:\n  rtx: {version: '1.7.*'}\n",
        """\
        @:6:3: missing key 'flavour' in 'toolchains.rtx'
              rtx: {version: '1.7.*'}
              ^
          for example flavour: tensorrt_rtx
        """,
    ),
    "unknown precision": (
        "variants: {a: {precision: fp61}}\n",
        """\
        @:5:27: unknown precision 'fp61'
            variants: {a: {precision: fp61}}
                                      ^
          did you mean 'fp16'? valid precisions: fp32, fp16, bf16, auto
        """,
    ),
    "budget without a goal": (
        "validate: {random: {}}\nvariants: {a: {precision: auto, budget: {samples: 8}}}\n",
        """\
        @:6:41: a budget needs either a metric or an accuracy_drop
            variants: {a: {precision: auto, budget: {samples: 8}}}
                                                    ^
          for example {metric: cosine, min: 0.999}
        """,
    ),
    "one word for a mapping": (
        "variants: {a: {precision: fp16, io: half}}\n",
        """\
        @:5:37: unknown io 'half'
            variants: {a: {precision: fp16, io: half}}
                                                ^
          valid values: keep, convert
        """,
    ),
    "number that is none of a few": (
        "variants: {a: {precision: fp16, block_size: 33}}\n",
        """\
        @:5:45: unknown block_size 33
            variants: {a: {precision: fp16, block_size: 33}}
                                                        ^
          valid values: 16, 32, 64, 128
        """,
    ),
    "text for a number of a few": (
        "variants: {a: {precision: fp16, block_size: '32'}}\n",
        """\
        @:5:45: 'block_size' must be a number, not the text '32'
            variants: {a: {precision: fp16, block_size: '32'}}
                                                        ^
          valid values: 16, 32, 64, 128
        """,
    ),
    "unknown precision to keep": (
        "variants: {a: {keep: {fp23: ['/head/*']}}}\n",
        """\
        @:5:23: unknown precision 'fp23'
            variants: {a: {keep: {fp23: ['/head/*']}}}
                                  ^
          did you mean 'fp32'? valid precisions: fp32, fp16, bf16
        """,
    ),
    "unknown literal": (
        "validate: {thresholds: [{metric: cosin, min: 0.9}]}\n",
        """\
        @:5:34: unknown metric 'cosin'
            validate: {thresholds: [{metric: cosin, min: 0.9}]}
                                             ^
          did you mean 'cosine'? valid values: max_abs, max_rel, mean_abs, rmse, cosine, psnr, snr, top1_agreement, top5_agreement, accuracy
        """,
    ),
    "number where text is expected": (
        "toolchains: {trt: {flavour: tensorrt, version: 10.12}}\n",
        """\
        @:5:48: 'version' must be text, not the number 10.12
            toolchains: {trt: {flavour: tensorrt, version: 10.12}}
                                                           ^
          put it in quotes: '10.12'
        """,
    ),
    "text where a number is expected": (
        "builder: {optimization_level: '3'}\n",
        """\
        @:5:31: 'optimization_level' must be a whole number, not the text '3'
            builder: {optimization_level: '3'}
                                          ^
          write it without quotes: 3
        """,
    ),
    "fraction where a whole number is expected": (
        "builder: {optimization_level: 3.5}\n",
        """\
        @:5:31: 'optimization_level' must be a whole number, not the number 3.5
            builder: {optimization_level: 3.5}
                                          ^
          for example optimization_level: 3
        """,
    ),
    "yes where true is expected": (
        "builder: {tf32: yes}\n",
        """\
        @:5:17: 'tf32' must be true or false, not the text 'yes'
            builder: {tf32: yes}
                            ^
          write true
        """,
    ),
    "text where a list is expected": (
        "transform: {outputs: logits}\n",
        """\
        @:5:22: 'outputs' must be a list, not the text 'logits'
            transform: {outputs: logits}
                                 ^
          write it as a list: [logits]
        """,
    ),
    "nothing where a mapping is expected": (
        "builder:\n",
        """\
        @:5:1: 'builder' must be a mapping, not nothing
            builder:
            ^
          for example builder: {workspace: 2GiB}
        """,
    ),
    "number in a list of texts": (
        "transform: {outputs: [a, 5]}\n",
        """\
        @:5:26: 'outputs[1]' must be text, not the number 5
            transform: {outputs: [a, 5]}
                                     ^
          put it in quotes: '5'
        """,
    ),
    "number out of its range": (
        "builder: {optimization_level: 6}\n",
        """\
        @:5:31: 'optimization_level' must be at most 5, not 6
            builder: {optimization_level: 6}
                                          ^
          for example optimization_level: 3
        """,
    ),
    "number that must be positive": (
        "builder: {time_limit: 0}\n",
        """\
        @:5:23: 'time_limit' must be more than 0, not 0
            builder: {time_limit: 0}
                                  ^
          for example time_limit: 600
        """,
    ),
    "text that is not a number": (
        "variants: {a: {min_low_precision: nan}}\n",
        """\
        @:5:35: 'min_low_precision' must be a number, not the text 'nan'
            variants: {a: {min_low_precision: nan}}
                                              ^
          for example min_low_precision: 0.1
        """,
    ),
    "shape": (
        "profiles: [{x: {min: 1x3xH, opt: 1x3x8, max: 1x3x8}}]\n",
        """\
        @:5:22: not a shape: '1x3xH'
            profiles: [{x: {min: 1x3xH, opt: 1x3x8, max: 1x3x8}}]
                                 ^
          write it as 1x3x224x224 or [1, 3, 224, 224]
        """,
    ),
    "one shape for all three, said once": (
        "profiles: [{x: 1x3xH}]\n",
        """\
        @:5:16: not a shape: '1x3xH'
            profiles: [{x: 1x3xH}]
                           ^
          write it as 1x3x224x224 or [1, 3, 224, 224]
        """,
    ),
    "half a profile": (
        "profiles:\n  - x: {min: 1x3, max: 4x3}\n",
        """\
        @:6:8: min and max without opt
              - x: {min: 1x3, max: 4x3}
                   ^
          give min, opt and max, or one shape for all three
        """,
    ),
    "size": (
        "builder: {workspace: 2 gigs}\n",
        """\
        @:5:22: not a size: '2 gigs'
            builder: {workspace: 2 gigs}
                                 ^
          write it as 2GiB, 512MiB or a number of bytes
        """,
    ),
    "name": (
        "variants: {my variant: {}}\n",
        """\
        @:5:12: not a name: 'my variant'
            variants: {my variant: {}}
                       ^
          use up to 64 letters, digits, '.', '_' and '-', starting with a letter or digit
        """,
    ),
    "no variants": (
        "variants: {}\n",
        """\
        @:5:11: 'variants' is empty
            variants: {}
                      ^
          for example variants: {fp32: {}, fp16: {precision: fp16}}
        """,
    ),
    "version": (
        "toolchains: {rtx: {flavour: tensorrt_rtx, version: latest}}\n",
        """\
        @:5:52: not a version: 'latest'
            toolchains: {rtx: {flavour: tensorrt_rtx, version: latest}}
                                                               ^
          write it in full, such as '1.7.1.116', or as a prefix such as '11.4.*'
        """,
    ),
    "constant": (
        "transform: {bind: {sr: fast}}\n",
        """\
        @:5:24: not a constant
            transform: {bind: {sr: fast}}
                                   ^
          write a number, true or false, or a (nested) list of them, for example [1, 2]
        """,
    ),
    "unknown reference": (
        "validate: {reference: onnx}\n",
        """\
        @:5:23: unknown reference 'onnx'
            validate: {reference: onnx}
                                  ^
          did you mean 'onnxruntime'? valid values: onnxruntime, float64
        """,
    ),
    "wrong golden reference": (
        "validate: {reference: {gold: x.npz}}\n",
        """\
        @:5:24: unknown key 'gold'
            validate: {reference: {gold: x.npz}}
                                   ^
          did you mean 'golden'? valid keys: golden, variant
        """,
    ),
    "two references": (
        "validate: {reference: {golden: models/net.onnx, variant: fp32}}\n",
        """\
        @:5:23: a reference needs either golden or variant
            validate: {reference: {golden: models/net.onnx, variant: fp32}}
                                  ^
          for example {golden: golden/net.npz}
        """,
    ),
    "two sources of inputs": (
        "validate:\n  data: set\n  random: {seed: 1}\n",
        """\
        @:5:1: data and random exclude each other
            validate:
            ^
          leave out data or random
        @:6:9: no data set 'set': there is no calibration/set.yaml
              data: set
                    ^
          there are no data sets
        """,
    ),
    "duplicate key beside another error": (
        "builder: {tf32: 1}\nbuilder: {}\n",
        """\
        @:5:17: 'tf32' must be true or false, not the number 1
            builder: {tf32: 1}
                            ^
          for example tf32: false
        @:6:1: key 'builder' is given twice, first on line 5
            builder: {}
            ^
          keep one of them
        """,
    ),
}

TAKEN = {
    "nothing more": "",
    "variants": "variants: {fp32: {}, fp16: {precision: fp16, keep: {fp32: ['op:Softmax', '/head/*']}}}\n",
    "whole numbers for fractions": "variants: {a: {min_low_precision: 1}}\nbuilder: {time_limit: 60}\n",
    "shapes as text, lists and numbers": "profiles: [{x: 1x3x8x8, y: [1, 3], z: 4, s: scalar}]\n",
    "a range of shapes": "profiles:\n  - x: {min: 1x3, opt: [2, 3], max: 4x3}\n",
    "a shape that begins like a hexadecimal number": "profiles: [{x: 0x3}]\n",
    "values of shape tensors": "profiles: [{n: {values: {min: 1, opt: [4], max: [8]}}}]\n",
    "shapes and values": "profiles: [{n: {min: 1, opt: 1, max: 1, values: {min: 1, opt: 2, max: 3}}}]\n",
    "transform": "transform: {simplify: true, outputs: [a], set_shapes: {x: -1x3x-1}, bind: {sr: 16000, m: [[1, 0.5]]}}\n",
    "no transform": "transform:\n",
    "toolchains": "toolchains: {a: {flavour: tensorrt_rtx, version: 1.7.1.116}, b: {flavour: tensorrt, version: '11.4.*'}}\n",
    "builder": "builder: {optimization_level: 5, workspace: 2GiB, tactic_shared_memory: 1048576, tf32: true}\n",
    "validate on data": "validate: {data: digits, samples: 100, corners: false}\n",
    "validate on random inputs": "validate: {random: {seed: 1, samples: 2}, reference: onnxruntime}\n",
    "validate against recorded outputs": "validate: {reference: {golden: models/net.onnx}}\n",
    "thresholds": "validate: {thresholds: [{output: '*', metric: cosine, min: 0.999}, {metric: max_abs, max: 1}]}\n",
    "parser's options": "plugins: [{library: models/net.onnx}]\n",
}
