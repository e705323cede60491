/* Signs in with libiddawc. What it and the test say to one another is a JSON object a line. */
#include <assert.h>
#include <iddawc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(json_t *step) {
  char *text = json_dumps(step, JSON_COMPACT);
  puts(text);
  fflush(stdout);
  free(text);
  json_decref(step);
}

static void ok(const char *feature) { say(json_pack("{ss}", "ok", feature)); }

/* visit has the person's browser open an address, to where it begins with stop, or to a page. */
static json_t *visit(const char *address, const char *stop) {
  static char line[1 << 16];
  say(json_pack("{ssss}", "visit", address, "stop", stop));
  assert(fgets(line, sizeof line, stdin));
  json_t *answer = json_loads(line, 0, NULL);
  assert(answer);
  return answer;
}

static const char *text(json_t *o, const char *key) {
  const char *value = json_string_value(json_object_get(o, key));
  return value ? value : "";
}

static void is_person(json_t *claims) {
  assert(!strcmp(text(claims, "name"), "张三") && !strcmp(text(claims, "preferred_username"), "zhangsan"));
  assert(strchr(text(claims, "email"), '@') && *text(claims, "sub"));
}

static void in_groups(json_t *claims) {
  size_t i;
  json_t *group;
  json_array_foreach(json_object_get(claims, "groups"), i, group) {
    if (!strcmp(json_string_value(group), "主管")) return;
  }
  assert(!"in the group");
}

/* begin makes a session that has asked for a code, and got one. */
static void begin(struct _i_session *s, const char *secret, const char *nonce) {
  assert(i_init_session(s) == I_OK);
  assert(i_set_parameter_list(s, I_OPT_RESPONSE_TYPE, I_RESPONSE_TYPE_CODE, I_OPT_OPENID_CONFIG_STRICT, 0,
                              I_OPT_ISSUER, getenv("ISSUER"), I_OPT_OPENID_CONFIG_ENDPOINT, getenv("CONFIG"), I_OPT_CLIENT_ID,
                              getenv("CLIENT_ID"), I_OPT_CLIENT_SECRET, secret, I_OPT_REDIRECT_URI, getenv("CALLBACK"),
                              I_OPT_SCOPE, "openid profile email groups offline_access", I_OPT_STATE_GENERATE, 16,
                              I_OPT_NONCE, nonce, I_OPT_PKCE_CODE_VERIFIER_GENERATE, 43, I_OPT_PKCE_METHOD,
                              I_PKCE_METHOD_S256, I_OPT_TOKEN_METHOD, I_TOKEN_AUTH_METHOD_SECRET_BASIC, I_OPT_NONE) == I_OK);
  assert(i_get_openid_config(s) == I_OK);
  assert(i_build_auth_url_get(s) == I_OK);
  json_t *answer = visit(i_get_str_parameter(s, I_OPT_REDIRECT_TO), getenv("CALLBACK"));
  assert(i_set_str_parameter(s, I_OPT_REDIRECT_TO, text(answer, "at")) == I_OK);
  assert(i_parse_redirect_to(s) == I_OK); /* compares the state */
  json_decref(answer);
}

static const char *error_of(struct _i_session *s) {
  const char *error = i_get_str_parameter(s, I_OPT_ERROR);
  return error ? error : "";
}

int main(void) {
  struct _i_session s, other;
  char config[512], out[8192];
  json_t *answer;

  snprintf(config, sizeof config, "%s/.well-known/openid-configuration", getenv("ISSUER"));
  setenv("CONFIG", config, 1);
  assert(i_global_init() == I_OK);
  begin(&s, getenv("CLIENT_SECRET"), "N");
  assert(!strncmp(i_get_str_parameter(&s, I_OPT_END_SESSION_ENDPOINT), getenv("ISSUER"), strlen(getenv("ISSUER"))));
  ok("discovery");

  begin(&other, getenv("CLIENT_SECRET"), "N");
  i_set_str_parameter(&other, I_OPT_PKCE_CODE_VERIFIER, "0123456789012345678901234567890123456789012");
  assert(i_run_token_request(&other) != I_OK && !strcmp(error_of(&other), "invalid_grant"));
  i_clean_session(&other);
  assert(i_run_token_request(&s) == I_OK);
  ok("pkce");

  assert(i_verify_id_token(&s) == I_OK);
  i_set_str_parameter(&s, I_OPT_NONCE, "another");
  assert(i_verify_id_token(&s) != I_OK);
  i_set_str_parameter(&s, I_OPT_NONCE, "N");
  assert(i_verify_id_token(&s) == I_OK);
  ok("nonce");

  assert(i_get_userinfo(&s, 0) == I_OK);
  is_person(s.j_userinfo);
  is_person(s.id_token_payload);
  ok("userinfo");
  in_groups(s.j_userinfo);
  in_groups(s.id_token_payload);
  ok("groups");

  char *before = strdup(i_get_str_parameter(&s, I_OPT_REFRESH_TOKEN));
  i_set_response_type(&s, I_RESPONSE_TYPE_REFRESH_TOKEN);
  i_set_str_parameter(&s, I_OPT_NONCE, NULL); /* an ID token of a refresh has none */
  assert(i_run_token_request(&s) == I_OK);
  assert(strcmp(before, i_get_str_parameter(&s, I_OPT_REFRESH_TOKEN)));
  free(before);
  ok("refresh");

  snprintf(out, sizeof out, "%s?id_token_hint=%s&post_logout_redirect_uri=%s&state=bye",
           i_get_str_parameter(&s, I_OPT_END_SESSION_ENDPOINT), i_get_str_parameter(&s, I_OPT_ID_TOKEN), getenv("CALLBACK"));
  answer = visit(out, getenv("CALLBACK"));
  assert(strstr(text(answer, "at"), "state=bye"));
  json_decref(answer);
  assert(i_run_token_request(&s) != I_OK && !strcmp(error_of(&s), "invalid_grant"));
  assert(i_get_userinfo(&s, 0) != I_OK);
  i_clean_session(&s);
  ok("logout");

  begin(&other, "wrong", "N");
  assert(i_run_token_request(&other) != I_OK && !strcmp(error_of(&other), "invalid_client"));
  i_set_str_parameter(&other, I_OPT_REDIRECT_URI, "http://127.0.0.1:9/elsewhere");
  i_set_response_type(&other, I_RESPONSE_TYPE_CODE);
  assert(i_build_auth_url_get(&other) == I_OK);
  answer = visit(i_get_str_parameter(&other, I_OPT_REDIRECT_TO), "");
  assert(strstr(text(answer, "page"), "oidc_redirect"));
  json_decref(answer);
  i_clean_session(&other);
  ok("wrong");
  i_global_close();
  return 0;
}
