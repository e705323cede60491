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
{{ default .Release.Name .Values.existingSecret }}
{{- end -}}

{{- define "dinggate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default .Release.Name .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}
