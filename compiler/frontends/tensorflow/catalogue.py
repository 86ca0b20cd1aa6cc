"""Why an operator of TensorFlow is not supported, by families of its names, first match first."""
from __future__ import annotations

import re
from collections.abc import Iterable

_TRAINING = "it trains: export the model for inference"
_TEXT = "strings stay outside the model: prepare and look them up before it"
_DATA = "it reads data: give the model tensors, and read them before it"
_TABLE = "tables of keys stay outside the model: look them up before it"
_STATE = "it keeps state between runs, which a compiled model has none of"
_RANDOM = "random numbers: make them outside and give them as an input"
_SPREAD = "it spreads work over devices: export the model for one device"
_IMAGE = "images are encoded, decoded and drawn on outside the model"
_SPARSE = "sparse and ragged tensors are not supported: give dense ones"
_COLUMNS = "only for sparse tensors that the model makes of dense inputs, as columns of features do: give dense ones"
_LINALG = "matrix decompositions and solvers are not supported"
_SIGNAL = "Fourier transforms and complex numbers are not supported"
_SPECIAL = "the device has no such special function"
_INTEGER = "quantised arithmetic inside the graph: use a frozen float graph, or TensorFlow Lite for int8"
_OPTIMISED = "it is an operator of an optimised runtime: export the graph before it is optimised for a device"
_PYTHON = "it calls Python code, which is not in the file"
_OTHER = "neither TensorFlow's layers nor its exporters write it: if it is an operator of your own, cut the model there"
_TESTS = "it belongs to TensorFlow's own tests"
_RUNTIME = "TensorFlow makes it while it runs a graph: it is in no saved model"
_DEBUG = "it copies or watches tensors while a graph runs: export the model without it"
_RISC = "it belongs to an experiment of TensorFlow's compiler: export the graph before it is rewritten"
_TREES = "trees of TensorFlow's own are not read: use XGBoost"
_HANDLE = "it makes, or asks about, a resource of TensorFlow's runtime, which a compiled model has none of"

#: (pattern of the whole name, reason)
_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"(Eager)?PyFunc\w*", _PYTHON),
    (r".*(Grad|GradV2|GradV3|GradGrad|Grad(Input|Filter|WithArgmax)|Gradient|GradientArgs|BackpropFilter\w*|Backprop\w*"
     r"|GradientAccumulator\w*)", _TRAINING),
    (r"(\w*Apply(?!Default)\w*|.*CrossEntropy\w*|CTCLoss\w*|Sdca\w*|.*LossScal\w*|NegTrain|\w*Optimizer\w*|Skipgram"
     r"|.*CandidateSampler|.*Accumulator\w*|.*TPUEmbedding\w*|ComputeDedup\w*|FakeQuant\w+|BoostedTrees\w*|Xla\w*Grad\w*"
     r"|GRUBlockCellGrad|LSTMBlockCellGrad|BlockLSTMGrad\w*|ComputeAccidentalHits|RetrieveTPU\w*|LoadTPU\w*)",
     _TRAINING),
    (r"(String\w*|.*String|.*ToString|AsString|Regex\w*|StaticRegex\w*|Substr|Unicode\w*|DecodeBase64|EncodeBase64"
     r"|.*NGrams|ReduceJoin|Text\w*|TFText\w*|Sentencepiece\w*|Wordpiece\w*|UnsortedSegmentJoin|KeyValueSort|Join"
     r"|Base64\w*|ParseTensor|SerializeTensor|StringToNumber|DecodeRaw|DecodePaddedRaw|DecodeCompressed|EncodeProto\w*"
     r"|DecodeProto\w*|.*Fingerprint\w*)", _TEXT),
    (r"(.*Table\w*|LookupTable\w*|InitializeTable\w*|\w*Vocab\w*|.*Bucketize.*Hash)", _TABLE),
    (r"(Parse\w*Example\w*|ParseSequence\w*|.*Dataset\w*|.*Iterator\w*|.*Reader\w*|ReadFile|WriteFile|MatchingFiles"
     r"|.*Queue\w*|FileSystem\w*|DecodeCSV|DecodeJSON\w*|DecodeText\w*|.*Summary\w*|Stage\w*|Unstage\w*|.*Stage|Map(Clear|"
     r"IncompleteSize|Peek|Size|Stage|Unstage\w*)|OrderedMap\w*|OptionalFrom\w*|Optional\w*|.*Sqlite\w*|.*BigQuery\w*"
     r"|AudioSpectrogram|GenerateVocab\w*|RecordInput|Dataset\w*|CollectionDef|SendTo\w*|.*Bigtable\w*|GcsConfigure\w*"
     r"|InfeedDequeue\w*|InfeedEnqueue\w*|Outfeed\w*|PrelinearizeT?\w*|Barrier\w*|ExperimentalD\w*)", _DATA),
    (r"(Save\w*|Restore\w*|MergeV2Checkpoints|ShardedFile\w*|Checkpoint\w*|.*Assign\w*|Assign\w*|CountUpTo|.*Scatter(Nd)?"
     r"(Add|Sub|Mul|Div|Min|Max|Update)|ResourceScatter\w*|Scatter(Add|Sub|Mul|Div|Min|Max|Update|Nd\w*)|ResourceCountUpTo|"
     r"IsVariableInitialized|VarIsInitializedOp|DestroyResource\w*|DestroyTemporaryVariable|TemporaryVariable|_?VarHandles\w*"
     r"|.*Stack(Push|Pop|Close)?(V2)?|MutexLock|MutexV2|ConsumeMutexLock|GetSessionHandle\w*|GetSessionTensor"
     r"|DeleteSessionTensor|.*GeneratorV?\d?|TensorMap\w*|EmptyTensorMap|TensorArray(V2)?|TensorArray\w+|ReadVariableXla\w*"
     r"|ResourceStridedSlice\w*|StridedSliceAssign|RngSkip|RngReadAndSkip|.*Seed\w*|BatchFunction\w*|Anonymous\w*|"
     r"CompositeTensor\w*|DeleteMemoryCache|DummyMemoryCache|DummySeed\w*|Conditional\w*)", _STATE),
    (r"(Random\w*|Stateless(Random|Truncated|Parameterized|Multinomial|Sample|Shuffle)\w*|Stateful\w+|TruncatedNormal"
     r"|ParameterizedTruncatedNormal|Multinomial|RNG\w*|Rng\w*|NonDeterministicInts|.*Sampler\w*)", _RANDOM),
    (r"(Collective\w*|Nccl\w*|TPU\w*|.*TPU|_?Send\w*|_?Recv\w*|_?HostSend|_?HostRecv|Xla\w*|_Xla\w*|RemoteCall|.*Replica\w*"
     r"|ConfigureDistributed\w*|ShutdownDistributed\w*|ConfigureAndInit\w*|ShutdownTPU\w*|WaitForDist\w*|SetGlobalTPU\w*"
     r"|DisconnectHost\w*|FinalizeTPU\w*|WorkerHeartbeat|.*AllReduce|CrossReplicaSum|AllToAll|_DistributedT\w*|DTensor\w*"
     r"|Relayout\w*|CopyToMesh\w*|.*Cluster\w*|Batch|Unbatch|BatchDataset\w*|_EagerConst|_Parallel\w*|GlobalShuffle\w*|"
     r"Ifrt\w*|PjRt\w*|GetMinibatch\w*|StoreMinibatch\w*|ConvertToCoo\w*|ConvertToList\w*|ConvertToSparse\w*|SortListOf\w*|"
     r"CollateTPU\w*|ExecuteTPU\w*|SplitDedup\w*|MergeDedup\w*|RecvTPU\w*|Distributed\w*|IsTPU\w*|Tpu\w*|DynamicEnq\w*|"
     r"EnqueueTPU\w*|ConnectTPU\w*|TopologyT\w*|NumTPU\w*|.*PartitionedCall\w*|_TPU\w*|DeviceIndex)", _SPREAD),
    (r"((Decode|Encode)(Jpeg|Png|Bmp|Gif|WebP|Image|Wav)\w*|DecodeAndCropJpeg|ExtractJpegShape|DrawBounding\w*"
     r"|SampleDistorted\w*|.*ProjectiveTransform\w*|ExtractGlimpse\w*|RGBToHSV|HSVToRGB|AdjustHue|AdjustSaturation"
     r"|AdjustContrast|GenerateBoundingBoxProposals|ScaleAndTranslate|ResizeArea|QuantizedResize\w*|ExtractVolumePatches"
     r"|NonMaxSuppressionWithOverlaps|RollImage)", _IMAGE),
    (r"SparseReshape|SparseFillEmptyRows|SparseSegment(Mean|Sum|SqrtN)", _COLUMNS),
    (r"(.*Sparse\w*|Ragged\w*|.*Ragged\w*|Bincount|DenseBincount|DenseToDense\w*|DenseToCSR\w*|.*CSR\w*|AddManySparse\w*|"
     r"AddSparse\w*|TakeManySparse\w*|SetSize|DenseCount\w*|Edit\w*|ListDiff|DeserializeMany\w*|.*SetOperation|"
     r"LoadAndRemap\w*)", _SPARSE),
    (r"(Batch)?(Matrix\w*|Cholesky|Qr|Svd|SvdV2|Lu|SelfAdjointEig\w*|Eig|LogMatrixDet\w*|Tridiagonal\w*|BandedTriangular\w*"
     r"|Self\w*|.*Solve\w*|.*Determinant|.*Inverse|Diag\w*)", _LINALG),
    (r"(.*FFT\w*|Complex\w*|Real|Imag|Conj|Angle|Mfcc|Polar)", _SIGNAL),
    (r"(Bessel\w*|Betainc|Digamma|Lgamma|Polygamma|Zeta|Igamma\w*|Ndtri|Erfinv|Dawsn|Expint|Fresnel\w*|Spence|NextAfter|"
     r"PopulationCount|Lbeta|CumulativeLogsumexp|RandomGamma\w*|Histogram\w*|Bucketize|SegmentMax\w*|SegmentMean\w*|"
     r"SegmentMin\w*|SegmentProd\w*|UnsortedSegmentMax|UnsortedSegmentMin|UnsortedSegmentProd|ApproxTopK|UpperBound|"
     r"LowerBound|Dilation2D|FractionalAvgPool|FractionalMaxPool|Erosion\w*|CTC\w*|UniqueWithCounts\w*|CudnnRNN\w*|"
     r"NearestNeighbors|Kmc2\w*|KMeans\w*|DynamicPartition|Merge\w*|BoxesIntersect|TopKUnique|TopKWithUnique|"
     r"MakeUnique|KthOrder\w*|Correlation\w*)", _SPECIAL),
    (r"(Quantize\w*|Quantized\w*|Dequantize\w*|Requantiz\w*|RequantizationRange\w*|UniformQuantize\w*|UniformDe\w*|"
     r"UniformRequantize|_Quantized\w*|QuantizeV2|CompareAndBitpack)", _INTEGER),
    (r"Risc\w+", _RISC),
    (r"TensorForest\w+|IsBoostedTrees\w+", _TREES),
    (r"_Arg|_Retval|_If|_While|_Device(Arg|Retval)|_ArrayToList|_ListToArray|_ReadVariablesOp|_SwitchN|_HostCast"
     r"|_UnaryOpsComposition|_ScopedAllocator\w*|_TensorToHashBucketFast|FakeParam|DevicePlacementOp|GraphDefVersion"
     r"|RemoteFusedGraphExecute|MapDefun|For|DataFormat(DimMap|VecPermute)|ImmutableConst|TensorStridedSliceUpdate"
     r"|SyncDevice|ControlTrigger|ParallelConcat|Inplace\w+", _RUNTIME),
    (r"Debug\w+|Dump\w+|Copy|CopyHost|_Copy\w+|DeepCopy|CheckPinned|Timestamp|Abort|ImportEvent|GetDeadline"
     r"|IsTensorFloat32Enabled|CalibrationStatisticsSaver|CustomAggregator", _DEBUG),
    (r"CropAndResizeGrad\w+", _TRAINING),
    (r"SobolSample|StochasticCastToInt", _RANDOM),
    (r"(Un)?[Cc]ompressElement|ComputeBatchSize|GetElementAtIndex|GetOptions|WindowOp|AudioMicrofrontend"
     r"|StatsAggregatorHandle\w*|ThreadPoolHandle|Experimental\w+Handle|GlobalIterId|DummyIterationCounter", _DATA),
    (r"DecodeJxl", _IMAGE),
    (r"TryRpc|DeleteRpc\w+|GetTpuTaskId|UpdateTaskIdAnd\w+|_DisconnectHost\w+|_SetGlobalTPU\w+", _SPREAD),
    (r"KMC2\w+|KmeansPlusPlus\w+|IsotonicRegression", _SPECIAL),
    (r"\w*Resource(Create|Initialized|Using|Handle\w*)\w*|MakeWeakResourceHandle|StubResource\w+", _HANDLE),
    (r"(Polymorphic|N?InPolymorphic|NPolymorphic|N(s)?In|NInts|Ref(In|Out)|Attr|Int64|Int(Attr|In|Out)|Float(In|Out)"
     r"|Two|Five|None|Old|OutT|List(In|Out)|TypeList|KernelLabel|OpWith|Func(Attr|List)|Foo|Test|Simple|Sleep|Reserved"
     r"|Restrict|Mixed|Default|Dtype|Construction|Requires|Namespace>|Binary$|Unary$|Conv$|A$|B$|Fact$).*", _TESTS),
    (r"NInTw\w+|NIntsIn|IntInput\w*|__MklDummy\w+", _TESTS),
    (r"(_Mkl\w*|_Fused\w*|_Native\w*|_MklNative\w*|_TensorRT\w*|TRT\w*|CreateTRT\w*|GetCalibration\w*|InitializeTRT\w*|"
     r"SerializeTRT\w*|_Nccl\w*|_OneDnn\w*|_Itex\w*|Xla\w*|.*Remap\w*|.*Jit\w*|_Mlir\w*|MlirP\w*|Rpc\w*)", _OPTIMISED),
)
#: Operators that the import itself deals with: ends of branches and loops, inputs, and what has no result.
_BUILT_IN = ("Assert", "Exit", "Merge", "NoOp", "Placeholder", "PlaceholderV2", "PrintV2", "RefExit", "RefMerge")
_PATTERNS = tuple((re.compile(pattern), why) for pattern, why in _FAMILIES)

#: Operators that are met in graphs of models and are not supported.
_KNOWN = """
    AdjustHue AdjustSaturation ApproxTopK AsString Assign AssignAddVariableOp AssignVariableOp AudioSpectrogram
    BatchMatrixInverse BesselI0 BesselI1 Betainc Bincount CTCBeamSearchDecoder CTCGreedyDecoder Cholesky
    Complex ComplexAbs Conj CudnnRNN CudnnRNNV2 CudnnRNNV3 DecodeBase64 DecodeBmp DecodeCSV DecodeGif DecodeImage
    DecodeJSONExample DecodeJpeg DecodePng DecodeRaw DecodeWav  Digamma Dilation2D DrawBoundingBoxes
    DrawBoundingBoxesV2 DynamicPartition EagerPyFunc EditDistance Eig EncodeJpeg EncodePng Erfinv ExtractGlimpse
    ExtractVolumePatches FFT FFT2D FractionalAvgPool FractionalMaxPool HSVToRGB HashTable HashTableV2 IFFT IFFT2D
    IRFFT Igamma Igammac ImageProjectiveTransformV2 ImageProjectiveTransformV3 IteratorGetNext IteratorV2 Lgamma
    ListDiff LookupTableExportV2 LookupTableFindV2 LookupTableSizeV2 Lu MatrixDeterminant MatrixInverse MatrixSolve
    MatrixTriangularSolve Mfcc Multinomial MutableHashTableV2 Ndtri NonMaxSuppressionWithOverlaps ParseExample
    ParseExampleV2 ParseSequenceExample ParseSingleExample Polygamma PyFunc Qr QuantizeV2 QuantizedAvgPool
    QuantizedBiasAdd QuantizedConv2D QuantizedMatMul QuantizedMaxPool QuantizedRelu RFFT RGBToHSV RaggedRange
    RaggedTensorToTensor RandomShuffle RandomStandardNormal RandomUniformInt ReadFile
    Real RegexReplace Requantize ResizeArea RestoreV2 SampleDistortedBoundingBox SaveV2 ScaleAndTranslate SegmentMax
    SegmentMean SelfAdjointEigV2 SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum SparseTensorDenseAdd
    SparseTensorDenseMatMul StatelessMultinomial StatelessRandomNormalV2 StatelessRandomUniformV2 StaticRegexReplace
    StringFormat StringJoin StringSplit StringSplitV2 StringToHashBucketFast StringToNumber Substr Svd
    TensorArrayGradV3 TruncatedNormal UnicodeDecode UniqueWithCounts UnsortedSegmentMax UpperBound XlaConvV2
    XlaDotV2 _Recv _Send
""".split()


def reason(op: str) -> str:
    """Why an operator that no converter takes is not supported."""
    return next((why for pattern, why in _PATTERNS if pattern.fullmatch(op)), _OTHER)


def listed(supported: Iterable[str]) -> dict[str, str]:
    """Operators that models have: "" for those supported, else the reason."""
    found = {op: reason(op) for op in _KNOWN}
    found.update(dict.fromkeys((*supported, *_BUILT_IN), ""))
    return dict(sorted(found.items()))
