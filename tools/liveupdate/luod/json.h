/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shorthands for json-c. Without memory a field is missing, no more.
 */
#ifndef LUOD_JSON_H
#define LUOD_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

static inline void put_string(struct json_object *to, const char *key, const char *value)
{
	json_object_object_add(to, key, json_object_new_string(value));
}

static inline void put_number(struct json_object *to, const char *key, int64_t value)
{
	json_object_object_add(to, key, json_object_new_int64(value));
}

static inline void put_bool(struct json_object *to, const char *key, bool value)
{
	json_object_object_add(to, key, json_object_new_boolean(value));
}

static inline int64_t get_number(struct json_object *from, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(from, key, &value) &&
	       json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : 0;
}

static inline const char *get_string(struct json_object *from, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(from, key, &value) &&
	       json_object_is_type(value, json_type_string) ?
	       json_object_get_string(value) : NULL;
}

#endif /* LUOD_JSON_H */
