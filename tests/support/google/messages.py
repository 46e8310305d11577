"""The fields of what is sent to Google, and what its JSON parser refuses: unknown names, and values of other types.

A line of ``_TABLE`` is a message: its name, and its fields as ``name:type``. ``!`` marks one that must be there, ``-``
one that Google writes and takes no notice of where it is sent. Types: ``s`` text, ``i`` int32, ``l`` int64, ``f``
number, ``b`` boolean, ``d`` duration, ``t`` timestamp, ``any`` whatever is JSON, ``A|B`` one of these words, or the
name of a message; ``[]`` behind it makes a list, ``{}`` a map from texts. (Vertex AI v1, Cloud Monitoring v3, Pub/Sub
v1: their REST references; proto3's "JSON Mapping".) Whoever adds a route with a body adds its message here.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labelloop.types import Json
from support.google.wire import Refused, invalid, violation

_TABLE = """
Empty
Status code:i message:s details:any[]
EncryptionSpec kmsKeyName:s
EnvVar name:s! value:s!
GcsSource uris:s[]!
GcsDestination outputUriPrefix:s!
MachineSpec machineType:s acceleratorType:ACCELERATOR acceleratorCount:i tpuTopology:s reservationAffinity:any
DiskSpec bootDiskType:s bootDiskSizeGb:i

CustomJob displayName:s! jobSpec:CustomJobSpec! labels:s{} encryptionSpec:EncryptionSpec name:s- state:s- \
  createTime:t- startTime:t- endTime:t- updateTime:t- error:Status- webAccessUris:s{}-
CustomJobSpec workerPoolSpecs:WorkerPoolSpec[]! scheduling:Scheduling serviceAccount:s network:s \
  reservedIpRanges:s[] baseOutputDirectory:GcsDestination tensorboard:s enableWebAccess:b \
  enableDashboardAccess:b experiment:s experimentRun:s models:s[] persistentResourceId:s protectedArtifactLocationId:s
WorkerPoolSpec containerSpec:ContainerSpec pythonPackageSpec:any machineSpec:MachineSpec replicaCount:l \
  diskSpec:DiskSpec nfsMounts:any[]
ContainerSpec imageUri:s! command:s[] args:s[] env:EnvVar[]
Scheduling timeout:d restartJobOnWorkerRestart:b strategy:STRATEGY \
  disableRetries:b maxWaitDuration:d

UploadModelRequest model:Model! modelId:s parentModel:s serviceAccount:s
Model displayName:s! description:s versionDescription:s versionAliases:s[] containerSpec:ModelContainerSpec \
  artifactUri:s labels:s{} metadata:any metadataSchemaUri:s predictSchemata:PredictSchemata explanationSpec:any \
  encryptionSpec:EncryptionSpec etag:s pipelineJob:s dataStats:any baseModelSource:any name:s versionId:s- \
  versionCreateTime:t- versionUpdateTime:t- createTime:t- updateTime:t- deployedModels:any- trainingPipeline:s- \
  supportedDeploymentResourcesTypes:any- supportedInputStorageFormats:any- supportedOutputStorageFormats:any- \
  supportedExportFormats:any- metadataArtifact:s- modelSourceInfo:any- originalModelInfo:any-
ModelContainerSpec imageUri:s! command:s[] args:s[] env:EnvVar[] ports:Port[] grpcPorts:Port[] predictRoute:s \
  healthRoute:s invokeRoutePrefix:s deploymentTimeout:d sharedMemorySizeMb:l startupProbe:Probe healthProbe:Probe \
  livenessProbe:Probe
Port containerPort:i
Probe exec:any httpGet:any grpc:any tcpSocket:any periodSeconds:i timeoutSeconds:i failureThreshold:i \
  successThreshold:i initialDelaySeconds:i
PredictSchemata instanceSchemaUri:s parametersSchemaUri:s predictionSchemaUri:s
MergeVersionAliasesRequest versionAliases:s[]!
ImportModelEvaluationRequest modelEvaluation:ModelEvaluation!
ModelEvaluation displayName:s metricsSchemaUri:s metrics:any sliceDimensions:s[] metadata:any annotationSchemaUri:s \
  dataItemSchemaUri:s explanationSpecs:any[] modelExplanation:any name:s- createTime:t-

Endpoint displayName:s! description:s labels:s{} trafficSplit:i{} etag:s encryptionSpec:EncryptionSpec network:s \
  enablePrivateServiceConnect:b privateServiceConnectConfig:any dedicatedEndpointEnabled:b name:s \
  predictRequestResponseLoggingConfig:PredictLogging clientConnectionConfig:ClientConnectionConfig \
  deployedModels:any- createTime:t- updateTime:t- dedicatedEndpointDns:s- modelDeploymentMonitoringJob:s-
EndpointPatch displayName:s description:s labels:s{} trafficSplit:i{} etag:s name:s \
  predictRequestResponseLoggingConfig:PredictLogging clientConnectionConfig:ClientConnectionConfig \
  dedicatedEndpointEnabled:b- deployedModels:any- createTime:t- updateTime:t- dedicatedEndpointDns:s- \
  modelDeploymentMonitoringJob:s- encryptionSpec:EncryptionSpec- network:s-
ModelPatch displayName:s description:s versionDescription:s labels:s{} explanationSpec:any etag:s name:s \
  versionAliases:s[]
PredictLogging enabled:b samplingRate:f bigqueryDestination:any
ClientConnectionConfig inferenceTimeout:d
DeployModelRequest deployedModel:DeployedModel! trafficSplit:i{}
DeployedModel model:s! id:s displayName:s dedicatedResources:DedicatedResources automaticResources:AutomaticResources \
  sharedResources:s explanationSpec:any disableExplanations:b serviceAccount:s disableContainerLogging:b \
  enableAccessLogging:b fasterDeploymentConfig:any checkpointId:s systemLabels:s{} modelVersionId:s- createTime:t- \
  privateEndpoints:any- status:any- speculativeDecodingSpec:any
DedicatedResources machineSpec:MachineSpec! minReplicaCount:i! maxReplicaCount:i requiredReplicaCount:i spot:b \
  autoscalingMetricSpecs:AutoscalingMetricSpec[]
AutoscalingMetricSpec metricName:s! target:i
AutomaticResources minReplicaCount:i maxReplicaCount:i
UndeployModelRequest deployedModelId:s! trafficSplit:i{}
MutateDeployedModelRequest deployedModel:MutatedModel! updateMask:s!
MutatedModel id:s! dedicatedResources:MutatedResources automaticResources:AutomaticResources disableContainerLogging:b \
  model:s
MutatedResources machineSpec:MachineSpec minReplicaCount:i maxReplicaCount:i requiredReplicaCount:i spot:b \
  autoscalingMetricSpecs:AutoscalingMetricSpec[]
PredictRequest instances:any[]! parameters:any

BatchPredictionJob displayName:s! model:s modelVersionId:s- unmanagedContainerModel:any inputConfig:BatchInput! \
  instanceConfig:BatchInstance modelParameters:any outputConfig:BatchOutput! \
  dedicatedResources:BatchDedicatedResources serviceAccount:s manualBatchTuningParameters:ManualBatchTuningParameters \
  generateExplanation:b explanationSpec:any labels:s{} encryptionSpec:EncryptionSpec disableContainerLogging:b \
  name:s- outputInfo:any- state:s- error:Status- partialFailures:any- resourcesConsumed:any- completionStats:any- \
  createTime:t- startTime:t- endTime:t- updateTime:t-
BatchInput gcsSource:GcsSource bigquerySource:any instancesFormat:s!
BatchInstance instanceType:s keyField:s includedFields:s[] excludedFields:s[]
BatchOutput gcsDestination:GcsDestination bigqueryDestination:any predictionsFormat:s!
BatchDedicatedResources machineSpec:MachineSpec! startingReplicaCount:i maxReplicaCount:i
ManualBatchTuningParameters batchSize:i

Dataset displayName:s! description:s metadataSchemaUri:s! metadata:any labels:s{} encryptionSpec:EncryptionSpec \
  etag:s savedQueries:any name:s- createTime:t- updateTime:t- dataItemCount:l- metadataArtifact:s- modelReference:s-
ImportDataRequest importConfigs:ImportDataConfig[]!
ImportDataConfig gcsSource:GcsSource dataItemLabels:s{} annotationLabels:s{} importSchemaUri:s!

TrainingPipeline displayName:s! inputDataConfig:InputDataConfig trainingTaskDefinition:s! trainingTaskInputs:any! \
  modelToUpload:UploadedModel modelId:s parentModel:s labels:s{} encryptionSpec:EncryptionSpec name:s- state:s- \
  trainingTaskMetadata:any- error:Status- createTime:t- startTime:t- endTime:t- updateTime:t-
UploadedModel displayName:s! description:s versionDescription:s versionAliases:s[] labels:s{} \
  containerSpec:ModelContainerSpec artifactUri:s predictSchemata:PredictSchemata encryptionSpec:EncryptionSpec name:s- \
  explanationSpec:any metadataSchemaUri:s metadata:any
InputDataConfig datasetId:s! filterSplit:FilterSplit fractionSplit:FractionSplit predefinedSplit:PredefinedSplit \
  timestampSplit:any stratifiedSplit:any gcsDestination:GcsDestination bigqueryDestination:any annotationsFilter:s \
  annotationSchemaUri:s savedQueryId:s persistMlUseAssignment:b
FilterSplit trainingFilter:s! validationFilter:s! testFilter:s!
FractionSplit trainingFraction:f validationFraction:f testFraction:f
PredefinedSplit key:s!

PipelineJob displayName:s pipelineSpec:any labels:s{} runtimeConfig:RuntimeConfig encryptionSpec:EncryptionSpec \
  serviceAccount:s network:s reservedIpRanges:s[] templateUri:s preflightValidations:b name:s- state:s- error:Status- \
  jobDetail:any- createTime:t- startTime:t- endTime:t- updateTime:t- templateMetadata:any- scheduleName:s-
RuntimeConfig gcsOutputDirectory:s! parameterValues:any{} parameters:any{} inputArtifacts:any{} \
  failurePolicy:PIPELINE_FAILURE_POLICY_UNSPECIFIED|PIPELINE_FAILURE_POLICY_FAIL_SLOW|PIPELINE_FAILURE_POLICY_FAIL_FAST

CreateTimeSeriesRequest timeSeries:TimeSeries[]!
TimeSeries metric:Metric! resource:MonitoredResource metadata:any- metricKind:KIND valueType:VALUE points:Point[]! \
  unit:s description:s
Metric type:s! labels:s{}
MonitoredResource type:s! labels:s{}
Point interval:TimeInterval! value:TypedValue!
TimeInterval startTime:t endTime:t!
TypedValue boolValue:b int64Value:l doubleValue:f stringValue:s distributionValue:any
MetricDescriptor name:s- type:s! labels:LabelDescriptor[] metricKind:KIND! valueType:VALUE! unit:s description:s \
  displayName:s metadata:any launchStage:s monitoredResourceTypes:s[]-
LabelDescriptor key:s! valueType:STRING|BOOL|INT64 description:s

Topic labels:s{} messageRetentionDuration:d kmsKeyName:s messageStoragePolicy:any schemaSettings:any name:s-
Subscription topic:s! ackDeadlineSeconds:i labels:s{} enableMessageOrdering:b enableExactlyOnceDelivery:b filter:s \
  messageRetentionDuration:d retainAckedMessages:b expirationPolicy:any deadLetterPolicy:DeadLetterPolicy \
  retryPolicy:any pushConfig:any name:s- state:s-
DeadLetterPolicy deadLetterTopic:s maxDeliveryAttempts:i
PublishRequest messages:PubsubMessage[]!
PubsubMessage data:s attributes:s{} orderingKey:s messageId:s- publishTime:t-
PullRequest maxMessages:i! returnImmediately:b
AcknowledgeRequest ackIds:s[]!
ModifyAckDeadlineRequest ackIds:s[]! ackDeadlineSeconds:i!
"""

_WORDS = {
    "ACCELERATOR": "ACCELERATOR_TYPE_UNSPECIFIED|NVIDIA_TESLA_K80|NVIDIA_TESLA_P100|NVIDIA_TESLA_V100|NVIDIA_TESLA_P4|"
    "NVIDIA_TESLA_T4|NVIDIA_TESLA_A100|NVIDIA_A100_80GB|NVIDIA_L4|NVIDIA_H100_80GB|NVIDIA_H100_MEGA_80GB|"
    "NVIDIA_H200_141GB|NVIDIA_B200|NVIDIA_GB200|TPU_V2|TPU_V3|TPU_V4_POD|TPU_V5_LITEPOD",
    "STRATEGY": "STRATEGY_UNSPECIFIED|ON_DEMAND|LOW_COST|STANDARD|SPOT|FLEX_START",
    "KIND": "METRIC_KIND_UNSPECIFIED|GAUGE|DELTA|CUMULATIVE",
    "VALUE": "VALUE_TYPE_UNSPECIFIED|BOOL|INT64|DOUBLE|STRING|DISTRIBUTION|MONEY",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: ``many`` is ``[]`` or ``{}``, ``must`` it be there, is it ``theirs`` to write."""

    name: str
    type: str
    many: str
    must: bool
    theirs: bool


def _messages() -> dict[str, dict[str, Field]]:
    lines = re.sub(r"\\\n", " ", _TABLE).splitlines()
    return {
        (words := line.split())[0]: {(one := _field(word)).name: one for word in words[1:]} for line in lines if line
    }


def _field(word: str) -> Field:
    name, _, told = word.partition(":")
    found = re.fullmatch(r"([\w|]+)(\[\]|\{\}|)(!?)(-?)", told)
    assert found, word
    return Field(name, _WORDS.get(found[1], found[1]), found[2], bool(found[3]), bool(found[4]))


MESSAGES = _messages()
"""Their fields, by name."""


def checked(message: str, content: Any, at: str = "") -> Json:
    """Give a message without what Google writes itself; raises Refused. ``at`` is where in the request it stands."""
    fields = MESSAGES[message]
    if not isinstance(content, dict):
        raise _bad(at, f"type.googleapis.com/google.cloud.{message}", content)
    found: Json = {}
    for name, value in content.items():
        field = fields.get(name)
        if field is None:
            where = f" at '{at}'" if at else ""
            raise violation(at, f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')
        told = None if value is None else _told(field, value, f"{at}.{_snake(name)}" if at else _snake(name))
        if told is not None and not field.theirs:
            found[name] = told
    for field in fields.values():
        if field.must and found.get(field.name) in (None, "", [], {}):
            where = f"{at}.{_snake(field.name)}" if at else _snake(field.name)
            raise invalid(f"Required field is not set: {where}")
    return found


def _told(field: Field, value: Any, at: str) -> Any:
    if field.many == "[]":
        if not isinstance(value, list):
            raise violation(at, f"Invalid value at '{at}', {_shown(value)}: it is no list")
        return [_one(field.type, one, f"{at}[{number}]") for number, one in enumerate(value)]
    if field.many == "{}":
        if not isinstance(value, dict):
            raise violation(at, f"Invalid value at '{at}' (MapEntry), {_shown(value)}")
        return {key: _one(field.type, one, f"{at}[{key}]") for key, one in value.items()}
    return _one(field.type, value, at)


def _one(kind: str, value: Any, at: str) -> Any:
    if kind in _SCALARS:
        return _SCALARS[kind](value, at)
    if "|" in kind:
        if value not in kind.split("|"):
            raise _bad(at, "TYPE_ENUM", value)
        return value
    return checked(kind, value, at)


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise _bad(at, "TYPE_STRING", value)
    return value


def _int32(value: Any, at: str) -> int:
    return _integer(value, at, 32)


def _int64(value: Any, at: str) -> str:
    """Numbers of 64 bits are texts in Google's JSON."""
    return str(_integer(value, at, 64))


def _integer(value: Any, at: str, bits: int) -> int:
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, bool) or not re.fullmatch(r"-?\d+(\.0+)?", text) or abs(int(float(text))) >= 1 << (bits - 1):
        raise _bad(at, f"TYPE_INT{bits}", value)
    return int(text.partition(".")[0])


def _number(value: Any, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bad(at, "TYPE_DOUBLE", value)
    return float(value)


def _boolean(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise _bad(at, "TYPE_BOOL", value)
    return value


def _duration(value: Any, at: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"-?\d+(\.\d{1,9})?s", value):
        raise _bad(at, "type.googleapis.com/google.protobuf.Duration", value)
    return value


def _timestamp(value: Any, at: str) -> str:
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise _bad(at, "type.googleapis.com/google.protobuf.Timestamp", value)
    return value


_SCALARS: dict[str, Callable[[Any, str], Any]] = {
    "s": _text,
    "i": _int32,
    "l": _int64,
    "f": _number,
    "b": _boolean,
    "d": _duration,
    "t": _timestamp,
    "any": lambda value, _: value,
}


def _bad(at: str, kind: str, value: Any) -> Refused:
    return violation(at, f"Invalid value at '{at}' ({kind}), {_shown(value)}")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)[:80]


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", lambda found: "_" + found[0].lower(), name)
