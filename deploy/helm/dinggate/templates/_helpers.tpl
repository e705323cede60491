{{- define "dinggate.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "dinggate.labels" -}}
app.kubernetes.io/name: dinggate
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end -}}

{{- define "dinggate.selector" -}}
app.kubernetes.io/name: dinggate
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The pod of helm test: labels that the Service does not select and the NetworkPolicy admits. */}}
{{- define "dinggate.test" -}}
app.kubernetes.io/name: dinggate-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "dinggate.secret" -}}
{{ default (include "dinggate.fullname" .) .Values.existingSecret }}
{{- end -}}

{{- define "dinggate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "dinggate.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* The host of public_url without its port, for Ingress and HTTPRoute. */}}
{{- define "dinggate.host" -}}
{{- (urlParse .Values.config.public_url).hostname -}}
{{- end -}}

{{- define "dinggate.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if and .Values.persistence.enabled (not $config.state_dir) -}}
{{- $_ := set $config "state_dir" "/var/lib/dinggate" -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* "true" where replicas share what they know. */}}
{{- define "dinggate.shared" -}}
{{- if eq (dig "session" "store" "" .Values.config) "redis" -}}true{{- end -}}
{{- end -}}

{{- define "dinggate.replicas" -}}
{{- if not (kindIs "invalid" .Values.replicas) -}}
{{ .Values.replicas }}
{{- else if include "dinggate.shared" . -}}2{{- else -}}1{{- end -}}
{{- end -}}

{{/* Nine tenths of limits.memory in bytes. */}}
{{- define "dinggate.goMemLimit" -}}
{{- if .Values.goMemLimit -}}
{{ .Values.goMemLimit }}
{{- else -}}
{{- $text := toString (dig "limits" "memory" "" .Values.resources) -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- if and (regexMatch "^[0-9]+[A-Za-z]*$" $text) (hasKey $units $unit) -}}
{{ printf "%d" (div (mul (atoi (trimSuffix $unit $text)) (get $units $unit) 9) 10) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What has no default that could be right: missing, or still an example's. */}}
{{- define "dinggate.given" -}}
{{- $config := .Values.config -}}
{{- if not $config.public_url -}}
{{- fail "config.public_url is missing: how browsers reach dinggate, such as https://app.example.com (浏览器访问的地址)" -}}
{{- end -}}
{{- with $config.dingtalk -}}
{{- range $key, $example := dict "client_id" "dingxxxxxxxx" "corp_id" "dingcorpxxxxxxxx" -}}
{{- $value := get $config.dingtalk $key -}}
{{- if or (not $value) (eq $value $example) -}}
{{- fail (printf "config.dingtalk.%s is missing: DingTalk's developer console shows it (见钉钉开发者后台)" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Two processes cannot open one state_dir, and a volume that hangs on one node cannot follow. */}}
{{- define "dinggate.check" -}}
{{- include "dinggate.given" . -}}
{{- if .Values.persistence.enabled -}}
{{- if or .Values.autoscaling.enabled (gt (int (include "dinggate.replicas" .)) 1) -}}
{{- fail "persistence is for one replica: set replicas to 1 and autoscaling.enabled to false, or keep the state in Redis (config.session.store)" -}}
{{- end -}}
{{- end -}}
{{- end -}}
