"""The kinds of problems, each with a permanent code: TP111 means an unknown key in every version.

Documentation pages, annotations in pull requests and web searches can refer to a code, while the wording of a problem
may change. So a code is never renumbered, and a retired number is never reused; `tests/problem_codes.txt` lists every
code ever assigned. A new kind of problem gets the next free number of its range; in 3xx, each format has ten
numbers, and a new format gets the next free ten. The same kind of mistake in two places has one code.

`docs/problems.py` generates `docs/problems.md` from this table. Independent of where problems arise.
"""

from __future__ import annotations

from collections.abc import Callable


class ProblemCode:
    """A kind of problem: `name` is for our code, `value` for users. Two are equal only if they are the same object."""

    __slots__ = ("meaning", "name", "value")

    def __init__(self, value: str, meaning: str) -> None:
        """`meaning` is one sentence that describes every problem with this code."""
        self.value, self.meaning, self.name = value, meaning, ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"Code.{self.name}"

    def __reduce__(self) -> tuple[Callable[[str], ProblemCode], tuple[str]]:
        return code_numbered, (self.value,)


_of = ProblemCode


class Code:
    """Every code. Not an Enum, because creating one with so many members would slow down a build with nothing to do."""

    # fmt: off
    # 1xx The spec: YAML, keys and values, names, sources
    NOT_YAML = _of("TP101", "The file breaks YAML's syntax.")
    YAML_FEATURE = _of("TP102", "The file uses a part of YAML that specs do without, such as tags, tabs or merge keys.")
    TOO_DEEP = _of("TP103", "Values are nested, or aliases expand, further than a spec may.")
    NOT_A_MAPPING = _of("TP104", "The file is empty, or what it holds is not a mapping of keys to values.")
    KEY_TWICE = _of("TP105", "A mapping has the same key twice.")
    KEY_NOT_TEXT = _of("TP106", "A key of a mapping is not text.")
    NOT_A_NUMBER = _of("TP107", "A number is not finite, or does not fit 64 bits.")
    MISSING_KEY = _of("TP110", "A key that is always needed is missing.")
    UNKNOWN_KEY = _of("TP111", "A key is not valid at this place.")
    WRONG_TYPE = _of("TP112", "A value has another type than its key takes.")
    OUT_OF_RANGE = _of("TP113", "A number is below the least or above the most that is allowed.")
    WRONG_LENGTH = _of("TP114", "A list or a text is empty, or longer than it may be.")
    UNKNOWN_VALUE = _of("TP116", "A word is not one of the few that are allowed there.")
    WRONG_FORM = _of("TP117", "A text or a list does not have the form that it must have, such as a SHA-256 or a size.")
    NOT_A_SHAPE = _of("TP118", "A value that should be a shape is not one.")
    NOT_A_NAME = _of("TP120", "A name has characters that names may not have, or is too long.")
    KEYS_EXCLUDE = _of("TP121", "Keys that exclude each other are both given.")
    KEY_NEEDED = _of("TP122", "One of several keys is required, but none is given.")
    NO_EFFECT = _of("TP123", "A key has no effect beside the others.")
    INVALID_VALUE = _of("TP124", "A value is not valid for a reason that has no code of its own.")
    LISTED_TWICE = _of("TP125", "The same thing is named twice.")
    BAD_ADDRESS = _of("TP126", "An address cannot be understood, or holds what an address may not hold.")
    UNKNOWN_NAME = _of("TP130", "A name refers to something of the project that does not exist, such as a data set.")
    NAME_TAKEN = _of("TP131", "Two things that must be told apart have the same name.")
    TARGET_UNDESCRIBED = _of("TP132", "A target is named, and neither the spec nor trtpipe.yaml describes it.")
    NO_PIPELINE = _of("TP133", "No pipeline spec was found at the given place.")
    OUTSIDE_PROJECT = _of("TP140", "A file is outside the project and the directories that the project may read.")
    UNKNOWN_SOURCE = _of("TP142", "A source is of a kind that cannot be read there, or names no installed package.")
    PLAIN_HTTP = _of("TP143", "An address uses plain http without a pin, so its content could be altered in transit.")
    NOT_PINNED = _of("TP144", "Nothing fixes what a remote file must be: it has no SHA-256, or its revision may move.")
    PIN_MISMATCH = _of("TP146", "A file is not the one that its SHA-256 names.")
    MISPLACED_PIN = _of("TP147", "A pin belongs to no file that is fetched.")
    FETCH_FAILED = _of("TP150", "A remote file cannot be fetched.")
    NOT_FETCHED = _of("TP151", "A remote file is not in the store, and --offline forbids fetching it.")
    PROFILE_NEEDED = _of("TP160", "The model has inputs of dynamic shape, and the spec has no profile.")
    PROFILE_NEEDLESS = _of("TP161", "Every input is static, and the spec has profiles all the same.")
    PROFILE_LEAVES_OUT = _of("TP162", "A profile has no entry for an input that needs shapes.")
    PROFILE_MISFIT = _of("TP163", "The shapes in a profile do not fit what the model declares.")
    PROFILE_ORDER = _of("TP164", "A profile breaks min ≤ opt ≤ max.")
    PROFILE_EMPTY_TENSORS = _of("TP165", "A profile allows a dimension of size 0.")
    SHARED_DIMENSION = _of("TP166", "Dimensions that have one name in the model get different sizes from a profile.")
    PROFILE_IMPOSSIBLE = _of("TP167", "The model cannot compute with the shapes at a corner of a profile.")
    PROFILE_LARGE = _of("TP168", "The inputs and outputs at the largest shapes of a profile take much memory.")
    SHAPE_TENSOR_VALUES = _of("TP169", "The values of a shape tensor are missing from a profile, wrong or needless.")
    CONSTANT_SHAPE_TENSOR = _of("TP171", "TensorRT takes the values of an input only as a constant.")
    NO_RANK = _of("TP172", "An input declares no shape, not even how many dimensions it has.")
    NO_SUCH_PROFILE = _of("TP173", "The spec or the engine has no profile of that number.")
    NO_PROFILE_TAKES = _of("TP174", "No profile takes the shapes that the inputs have.")
    CANNOT_BIND = _of("TP181", "An input cannot be bound to the value that is given for it.")
    SET_SHAPES_MISFIT = _of("TP182", "A shape that is set does not have as many dimensions as the input.")
    OUTPUT_TYPE_UNKNOWN = _of("TP183", "A tensor cannot become an output because its type is not known.")

    # 2xx The model: ONNX, its graph, declared layers
    NOT_ONNX = _of("TP201", "The file is not an ONNX model, or is damaged or cut short.")
    INVALID_ONNX = _of("TP202", "The file is an ONNX model that breaks the rules of ONNX.")
    FOREIGN_MODEL = _of("TP203", "The file is a model in another format than its parser reads.")
    NO_OUTPUTS = _of("TP204", "The model has no outputs, so there is nothing to build.")
    STRIPPED_WEIGHTS = _of("TP206", "The model was saved without the values of its weights.")
    WEIGHTS_MISSING = _of("TP207", "A file that holds weights of the model does not exist.")
    WEIGHTS_MISPLACED = _of("TP208", "The model refers to weights in a forbidden place.")
    WEIGHTS_CUT_SHORT = _of("TP209", "The data of a tensor is shorter or longer than its shape needs.")
    BAD_TENSOR = _of("TP210", "A tensor of the model has a type, dims or indices that cannot be.")
    GRAPH_CYCLE = _of("TP211", "Nodes of the graph need each other's outputs.")
    FUNCTIONS_NOT_INLINED = _of("TP212", "The functions of an ONNX model cannot be inlined.")
    SHAPES_NOT_TAKEN = _of("TP213", "An operator does not take the shapes or types of its inputs.")
    NAME_NOT_UTF8 = _of("TP214", "A name in the model, or the path of the model, is not UTF-8.")
    MODEL_CHANGED = _of("TP215", "A file changed while it was being read or built from.")
    NONFINITE_WEIGHTS = _of("TP216", "Weights or constants of the model hold NaN or infinities.")
    RANDOM_NODES = _of("TP217", "The model draws random numbers, so what depends on them cannot be validated.")
    MODEL_TOO_LARGE = _of("TP218", "The model has more of something, longer names or deeper nesting than is taken.")
    UNKNOWN_INPUT = _of("TP220", "The model has no input of that name.")
    UNKNOWN_TENSOR = _of("TP221", "The model has no tensor or output of that name.")
    UNKNOWN_NODE = _of("TP222", "The model has no node that a name, a pattern or a path between tensors matches.")
    INPUT_SHAPE_UNKNOWN = _of("TP223", "Neither the model nor the spec defines the shape of an input.")
    UNUSED_INPUT = _of("TP224", "No node of the model reads an input, and it is not an output.")
    LAYER_REFUSED = _of("TP240", "A declared layer does not accept its inputs or parameters, or an input is invalid.")
    LAYER_KEYS = _of("TP241", "The keys of a declared layer contradict each other, or one that it needs is missing.")
    LAYER_INPUT_UNKNOWN = _of("TP242", "A declared layer reads what no layer before it yields.")
    TENSOR_NAME_TAKEN = _of("TP243", "Two tensors of a network would have the same name.")
    OUTPUT_IS_INPUT = _of("TP245", "A tensor is both an input and an output.")
    GRAFT_MISFIT = _of("TP246", "The layers of a graft do not yield what the model reads.")
    OPSET_TOO_OLD = _of("TP247", "A declared layer needs a newer opset than the model has.")
    NOT_DECLARABLE = _of("TP248", "A model, or a node of it, cannot be written as declared layers.")
    UNKNOWN_WEIGHTS = _of("TP250", "The weights files hold no weights of that name.")
    WEIGHTS_MISFIT = _of("TP251", "Weights have another shape or type than the layer needs.")
    WEIGHTS_UNUSED = _of("TP252", "No layer uses some of the weights that are given.")
    WEIGHTS_TWICE = _of("TP253", "The same weights are defined in two places.")

    # 3xx Other formats: converters, Caffe, UFF, TensorFlow, PyTorch, weights files
    CONVERTER_FAILED = _of("TP301", "A converter refused the model.")
    CONVERTER_DIED = _of("TP302", "A converter crashed, ran out of memory or took too long.")
    INTERFACE_NAMES = _of("TP303", "The names given for inputs and outputs do not fit those of the model.")
    PARSER_OPTIONS = _of("TP304", "An option that this model needs is missing, or it has one that it does not take.")
    NOT_A_PROTOTXT = _of("TP310", "The file breaks the syntax of a Caffe prototxt.")
    CAFFE_NET = _of("TP311", "A Caffe net is not a whole net for inference, or is not wired as one.")
    CAFFE_LAYER = _of("TP312", "A layer of a Caffe net cannot be imported with these bottoms.")
    CAFFE_PARAMETER = _of("TP313", "A field of a Caffe layer is unknown, wrong or cannot be taken in.")
    CAFFE_WEIGHTS = _of("TP314", "A caffemodel is damaged, or does not belong to its prototxt.")
    CAFFE_PAIR_UNKNOWN = _of("TP315", "It is not known which prototxt belongs to a caffemodel.")
    CAFFE_CODE = _of("TP316", "A project's own code for layers of Caffe cannot be used.")
    NOT_UFF = _of("TP320", "The file is not a UFF model, or is damaged or cut short.")
    UFF_VERSION = _of("TP321", "A UFF file uses a version or a descriptor that is not known.")
    UFF_GRAPH = _of("TP322", "The graph of a UFF file is incomplete or contradicts itself.")
    UFF_OPERATION = _of("TP323", "An operation of a UFF file cannot be taken in.")
    UFF_PLUGIN = _of("TP324", "An operation of a UFF file needs a plugin, or has one that it does not need.")
    NOT_TENSORFLOW = _of("TP330", "The file or directory holds no model of TensorFlow.")
    TENSORFLOW_EFFECTS = _of("TP331", "A TensorFlow graph does more than compute, which an engine cannot.")
    TENSORFLOW_NOT_FROZEN = _of("TP332", "A TensorFlow graph has variables, so it is not frozen.")
    TENSORFLOW_SIGNATURE = _of("TP333", "A SavedModel has no graph with those tags, or no such signature.")
    TENSORFLOW_OUTSIDE = _of("TP334", "A SavedModel refers to files outside of its directory.")
    NOT_PYTORCH = _of("TP340", "The file holds no exported program of PyTorch.")
    PYTORCH_DAMAGED = _of("TP341", "The archive of an exported program is damaged or not as PyTorch writes it.")
    PYTORCH_PICKLE = _of("TP342", "The file is or holds a pickle, which is never loaded.")
    PYTORCH_VERSION = _of("TP343", "The installed PyTorch cannot load a program that another version wrote.")
    PYTORCH_REFUSED = _of("TP344", "An exported program holds what would run code when it is loaded.")
    PYTORCH_DIMENSION = _of("TP345", "Names for the dimensions of an exported program do not fit it.")
    NOT_NPY = _of("TP350", "The file is not an array in the .npy format, or is damaged.")
    NOT_NPZ = _of("TP351", "The file is not an archive in the .npz format, or is damaged.")
    NOT_SAFETENSORS = _of("TP352", "The file is not in the .safetensors format, or is damaged.")
    NOT_WTS = _of("TP353", "The file is not in the .wts format, or is damaged.")
    WEIGHTS_TYPE = _of("TP354", "An array has a type that cannot be used here.")

    # 4xx Precision, calibration, data sets
    NOT_A_CACHE = _of("TP401", "The file is not a calibration cache, or is damaged.")
    CACHE_FORMAT = _of("TP402", "A calibration cache is in another format than was declared.")
    CACHE_COVERAGE = _of("TP403", "A calibration cache has scales for too few of the tensors.")
    CACHE_RENAMING = _of("TP404", "A rule that renames entries of a calibration cache does not fit.")
    CACHE_OUTDATED = _of("TP405", "The model changed since its calibration cache was made.")
    CALIBRATION_NEEDED = _of("TP410", "A precision needs a calibration, and the variant has none.")
    CALIBRATION_NOT_TAKEN = _of("TP411", "A variant has a calibration, but its precision does not use one.")
    CALIBRATION_FAILED = _of("TP412", "A calibration found no scales.")
    NONFINITE_TENSORS = _of("TP413", "Tensors of the model become infinite or NaN on the calibration set.")
    NO_CUDA_PROVIDER = _of("TP414", "A calibration on CUDA was asked for, and ONNX Runtime cannot use CUDA here.")
    PRECISION_OPTION = _of("TP420", "A precision does not take an option that the variant has.")
    NOTHING_QUANTIZED = _of("TP421", "A precision finds nothing to quantize in the model.")
    CANNOT_KEEP = _of("TP422", "A precision cannot keep nodes in that type.")
    BORDER_TYPE = _of("TP424", "An input or output cannot have the type that is asked for.")
    OVERFLOWS_HALF = _of("TP425", "Values are too large for float16.")
    STAYS_WIDE = _of("TP426", "A node stays in float32 because of its weight.")
    AUTO_OPTION = _of("TP430", "An option does not go with precision auto, or goes with no other.")
    AUTO_NEEDS = _of("TP431", "Precision auto lacks what it searches by: a budget, candidates or data.")
    OUT_OF_REACH = _of("TP432", "No types that were tried keep the budget.")
    NO_SAMPLES = _of("TP440", "A data set yields no samples.")
    TOO_FEW_SAMPLES = _of("TP441", "A data set has fewer samples than are asked for or fill a batch.")
    BATCH_SIZE = _of("TP442", "A data set has a batch size that the model does not take.")
    UNKNOWN_ARRAY = _of("TP443", "A data set has no array of that name.")
    ARRAY_MISFIT = _of("TP444", "An array does not have the shape that the model's input needs.")
    ARRAY_TYPE = _of("TP445", "An array has another type than the model's input, or one that cannot be used.")
    ARRAY_VALUES = _of("TP446", "An array holds values that cannot be meant, such as NaN or one constant.")
    SAMPLE_COUNTS = _of("TP447", "Arrays hold different numbers of samples or rows.")
    LABELS = _of("TP448", "The labels of a data set are missing, or do not fit its samples.")
    IMAGE_OPTIONS = _of("TP449", "Options for images do not fit the array or the images.")
    IMAGE_UNREADABLE = _of("TP450", "An image cannot be decoded, or is of a kind that is not taken.")
    PARQUET_COLUMNS = _of("TP451", "The columns of a Parquet file cannot be used as arrays.")
    DATA_CODE = _of("TP452", "A project's function that yields samples failed, or yields what it may not.")
    DATA_CODE_FILES = _of("TP453", "A project's function reads files that the data set does not name.")
    TOO_MANY_FILES = _of("TP454", "A pattern matches more files than a data set may have.")
    LINKED_FOLDER = _of("TP455", "A pattern leads through a link to a folder, which is not followed.")
    DATA_TOO_LARGE = _of("TP456", "Samples or inputs take more space than is allowed.")
    SAMPLES_MISFIT = _of("TP457", "What a data set feeds does not fit the model's inputs or the profiles.")

    # 5xx Plan, lockfile, store, delivery
    STEPS_CYCLE = _of("TP501", "Steps of the plan need each other.")
    NO_CELL = _of("TP502", "No cell is left to build.")
    NO_SUCH_STEP = _of("TP503", "A cell has no step of that stage.")
    LOCK_DIFFERS = _of("TP510", "What was built is not what the lockfile says.")
    NO_LOCKFILE = _of("TP511", "There is no lockfile.")
    LOCK_CONFLICT = _of("TP512", "The lockfile contains a merge conflict.")
    LOCK_DAMAGED = _of("TP513", "The lockfile cannot be read.")
    LOCK_SCHEMA = _of("TP514", "The lockfile was written by another version of trtpipe.")
    STORE_CONTRADICTS = _of("TP515", "The store has another result than the lockfile, for what is the same in both.")
    STORE_REFUSED = _of("TP520", "The system refused to read or write the store.")
    NO_ARTIFACT = _of("TP521", "The store does not have an artifact or a trace that is needed.")
    ARTIFACT_DAMAGED = _of("TP522", "An artifact in the store is not what its digest says.")
    STORE_SCHEMA = _of("TP523", "The store was written by another version of trtpipe, or its marker is damaged.")
    STORE_BUSY = _of("TP524", "Another process collects garbage in the store.")
    REMOTE_STORE = _of("TP525", "The remote store cannot be used.")
    NO_REMOTE_STORE = _of("TP526", "A remote store is needed, and none is configured or writable.")
    SIGNING_KEY = _of("TP527", "The key that signs traces cannot be used.")
    CANNOT_DELIVER = _of("TP530", "A cell cannot be written where it is delivered.")
    NOT_BUILT = _of("TP540", "What is to be packaged is not built, or is not what the lockfile says.")
    PACKAGE_DAMAGED = _of("TP541", "A package does not hold exactly the files that its index names.")
    PACKAGE_SCHEMA = _of("TP542", "A package was written by another version of trtpipe.")
    PACKAGE_UNSAFE = _of("TP543", "A package holds what none may hold, such as links or paths that lead out of it.")
    NOT_SIGNED = _of("TP544", "A package has no signature, or not one that the key proves.")
    NOT_SERVABLE = _of("TP550", "NVIDIA Triton cannot serve a model as it is, or as its spec asks for.")
    REGISTRY_FAILED = _of("TP551", "A container registry cannot be reached, or refuses what is sent to it.")

    # 6xx Toolchains, targets, building and running engines
    NO_TOOLCHAIN = _of("TP601", "A toolchain is not installed, and cannot be or may not be here.")
    WHOLE_VERSION_NEEDED = _of("TP602", "A version of a toolchain is written in part where all of it is needed.")
    OTHER_VERSION = _of("TP603", "An interpreter has another version of TensorRT than the spec says, or none.")
    INTERPRETER = _of("TP604", "A Python interpreter cannot be run.")
    OTHER_PACKAGES = _of("TP606", "Packages of a toolchain are not those that were locked.")
    INDEX_UNREACHABLE = _of("TP607", "The package index cannot be reached.")
    NO_PACKAGES = _of("TP608", "There are no packages of that version for this interpreter.")
    INSTALL_FAILED = _of("TP609", "A toolchain could not be installed, or what was installed is not usable.")
    TOOLCHAIN_CHANGED = _of("TP610", "Files of a toolchain were changed on disk.")
    TOOLCHAIN_LOCK = _of("TP611", "The file that locks packages of toolchains cannot be read.")
    NO_HOME = _of("TP612", "There is no home directory where one is needed.")
    UNKNOWN_GPU = _of("TP620", "A GPU or compute capability is not known.")
    AMBIGUOUS_GPU = _of("TP621", "The name of a GPU could mean several.")
    GPU_TOO_OLD = _of("TP622", "TensorRT no longer builds for a GPU of that age.")
    NO_GPU = _of("TP623", "This machine has no NVIDIA GPU.")
    CANNOT_BUILD_FOR = _of("TP624", "The toolchain does not build for that GPU, or not on this machine.")
    TYPE_NOT_ON_GPU = _of("TP625", "The toolchain has no kernels of that type for the GPU.")
    BLOCK_SIZE = _of("TP626", "The toolchain does not take blocks of that size.")
    TARGET_OPTION = _of("TP627", "The toolchain does not have what a target asks for, such as plugins.")
    BUILDER_OPTION = _of("TP628", "The toolchain does not take a builder option, or ignores it.")
    OPERATOR_NOT_BUILT = _of("TP630", "TensorRT does not build an operator of the model.")
    PLUGIN_NEEDED = _of("TP631", "Operators of the model need plugins of TensorRT.")
    FOREIGN_TYPE = _of("TP632", "The model needs values of a type that TensorRT does not have, such as strings.")
    TRAINING_MODE = _of("TP633", "A node of the model is in training mode.")
    BUILD_FAILED = _of("TP640", "TensorRT could not build the engine.")
    PARSE_FAILED = _of("TP641", "TensorRT's parser refused the model.")
    PROFILE_REFUSED = _of("TP642", "TensorRT refused a profile.")
    OUT_OF_MEMORY = _of("TP643", "TensorRT or the GPU ran out of memory.")
    TIMED_OUT = _of("TP644", "Building, running or a trial took longer than its time limit.")
    WORKER_DIED = _of("TP645", "The process that builds or runs engines ended without a result.")
    WORKER_CONFIG = _of("TP646", "The process that builds or runs engines got a request that it cannot fulfil.")
    WORKER_ENVIRONMENT = _of("TP647", "Interpreter, driver or GPU are not what building or running the engine needs.")
    NOT_AN_ENGINE = _of("TP650", "The file is not a TensorRT engine.")
    ENGINE_DAMAGED = _of("TP651", "An engine is damaged, or is not the one that was built.")
    NOT_TRUSTED = _of("TP652", "An engine is in no manifest and no lockfile, so it is not run.")
    CANNOT_RUN_HERE = _of("TP653", "An engine cannot run on this machine.")
    RUN_FAILED = _of("TP654", "An engine failed while it ran.")
    MANIFEST_DAMAGED = _of("TP655", "A manifest or another record beside an engine is damaged.")
    NO_ENGINE = _of("TP656", "There is no engine, or some of its files are missing.")
    OLD_RECORD = _of("TP657", "An engine was built by a trtpipe too old for this.")
    CODE_NOT_ALLOWED = _of("TP658", "A project runs code, or reads outside itself, and its user has not allowed it.")
    STORE_OF_ANOTHER = _of("TP660", "A store in a project was made by somebody else, or on another machine.")
    NOTHING_TO_EXPECT = _of("TP675", "Rounding alone changes a model's outputs so much that comparing proves nothing.")

    # 7xx Running, validation, benchmarks, debugging
    THRESHOLD_MISSED = _of("TP701", "An output missed a threshold.")
    NOT_MEASURED = _of("TP702", "A threshold is about what was not measured.")
    UNMATCHED_OUTPUT = _of("TP703", "A threshold or budget is about an output that the model does not have.")
    OVER_BUDGET = _of("TP704", "A variant is over its budget.")
    NOT_IN_PRECISION = _of("TP705", "An engine computes too little in the precision that was asked for.")
    VALIDATES_NOTHING = _of("TP706", "A cell has no validation data, and something needs it.")
    REFERENCE = _of("TP707", "The recorded outputs cannot be used as the reference.")
    OUTPUT_DIFFERS = _of("TP708", "A tensor has another shape than in the reference.")
    NETWORK_DIFFERS = _of("TP709", "The network that TensorRT's parser made is not what the model says.")
    PARSER_WARNING = _of("TP710", "TensorRT's parser warns that the engine may compute something else.")
    MISSING_INPUT = _of("TP720", "An input was given no value.")
    INPUT_MISFIT = _of("TP721", "What was given for an input does not have its shape.")
    INPUT_TYPE = _of("TP722", "What was given for an input does not have its type, or the type cannot be fed.")
    WHICH_INPUT = _of("TP724", "It is not said which input a file is for.")
    NOTHING_TO_FEED = _of("TP726", "No inputs were given.")
    DATA_SET_UNUSABLE = _of("TP728", "A data set cannot prepare what is to be fed here.")
    NOTHING_TO_MEASURE = _of("TP731", "Nothing was named or found that could be measured.")
    NOTHING_FAILS = _of("TP740", "Nothing fails, or not what is to be reduced or reproduced, or not twice.")
    NOT_REPRODUCIBLE = _of("TP743", "A step cannot be written as a reproduction in the way that was asked for.")
    MODEL_RUN_FAILED = _of("TP745", "ONNX Runtime could not load or run the model.")

    # 8xx The command line, files, the environment
    NO_SUCH_FILE = _of("TP801", "A file or directory does not exist.")
    NOT_A_FILE = _of("TP802", "Something is not the regular file that it must be.")
    CANNOT_READ = _of("TP803", "The system refused to read a file or to list a directory.")
    CANNOT_WRITE = _of("TP804", "The system refused to write a file.")
    EXISTS_ALREADY = _of("TP805", "A file or directory that would be written exists already.")
    EMPTY_FILE = _of("TP806", "A file is empty.")
    FILE_TOO_LARGE = _of("TP807", "A file is larger, or would unpack to more, than is allowed.")
    NOT_UTF8 = _of("TP808", "A text or a name is not UTF-8.")
    WRONG_FILE = _of("TP810", "A file is not of the kind that is needed here.")
    RECORD_DAMAGED = _of("TP811", "A file that trtpipe or a tool of its kind writes is damaged, or not one of those.")
    OPTIONS_EXCLUDE = _of("TP820", "Options of the command exclude each other, or one does not apply here.")
    BAD_ARGUMENT = _of("TP821", "An argument of the command cannot be understood.")
    AMBIGUOUS_NAME = _of("TP822", "A name, or the first digits of a digest, means several things where one is needed.")
    NO_MATCH = _of("TP823", "Nothing matches what was named.")
    SEVERAL_PROJECTS = _of("TP824", "The specs belong to several projects.")
    NOT_COMPARABLE = _of("TP825", "Two things cannot be compared.")
    GIT_FAILED = _of("TP826", "A file cannot be taken out of git.")
    MISSING_PACKAGE = _of("TP827", "A Python package that is needed is not installed.")
    BAD_VARIABLE = _of("TP828", "An environment variable has a value that cannot be used.")
    CHECK_FAILED = _of("TP829", "A check found errors.")
    AGENT_UNREACHABLE = _of("TP830", "An agent of a fleet cannot be reached, or its connection breaks again and again.")
    NOT_FOR_SEVERAL = _of("TP831", "An option that applies to one thing was used with several.")
    AGENT_REFUSED = _of("TP832", "An agent of a fleet and its client do not accept each other's certificate or token.")
    AGENT_ANSWER = _of("TP833", "An agent of a fleet answers with something else than it was asked for.")
    FLEET_CERTIFICATE = _of("TP834", "A certificate or a key of a fleet cannot be used as it is.")
    NO_RUNNER = _of("TP835", "An engine can only be built on a GPU that no runner of the CI system is named for.")
    FLEET_UNREACHABLE = _of("TP840", "The scheduler of a fleet cannot be reached, or the connection to it broke.")
    NOBODY_SERVES = _of("TP841", "No machine of the fleet can do a part of the work.")
    AGENT_LOST = _of("TP842", "Machines of the fleet died or vanished while they did a step.")
    NOT_ENCRYPTED = _of("TP843", "A connection to a fleet beyond this machine would not be encrypted.")
    HOST_FAILED = _of("TP845", "A machine of fleet.yaml cannot be reached over SSH, or what was started there ended.")

    # 9xx The system: interruptions, disks, crashes
    INTERRUPTED = _of("TP901", "The user or a signal from outside stopped what was under way.")
    DISK_FULL = _of("TP902", "There is no space left on a disk.")
    SYSTEM_REFUSED = _of("TP903", "The system refused what a step asked of it.")
    STEP_CRASHED = _of("TP904", "The process of a step ended without a result.")
    MORE_PROBLEMS = _of("TP910", "There are more problems than are shown.")
    # fmt: on


def all_codes() -> list[ProblemCode]:
    """Every code, in the order of their numbers."""
    return [one for one in vars(Code).values() if isinstance(one, ProblemCode)]


def code_numbered(number: str) -> ProblemCode:
    """The code of a number, such as TP111. Raises ValueError when there is none."""
    for one in all_codes():
        if one.value == number:
            return one
    raise ValueError(f"{number!r} is the number of no code")
