/* view.c: the shared copy that workers read. The count is atomic since the loop and all workers hold
 * references; nothing else in a view changes once it was published. The last one to leave frees it, on
 * whatever thread that is. */
#include "node/view.h"

#include "node/account.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/tls.h"

#include <string.h>

struct view *view_ref(struct view *view)
{
    unsigned before = atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    CHECK(before > 0);
    return view;
}

void view_unref(struct view *view)
{
    if (!view) {
        return;
    }
    unsigned before = atomic_fetch_sub_explicit(&view->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1) {
        tls_ctx_free(view->tls);
        auth_rsa_free(view->rsa);
        mem_free(view->users);
        mem_free(view);
    }
}

const struct user_account *view_user(const struct view *view, const char *name, const char *address)
{
    return account_of_client(view->users, view->n_users, name, address);
}

const struct user_account *view_account(const struct view *view, const char *name, const char *host)
{
    for (size_t i = 0; i < view->n_users; i++) {
        if (strcmp(view->users[i].name, name) == 0 && strcmp(view->users[i].host, host) == 0) {
            return &view->users[i];
        }
    }
    return NULL;
}

bool view_has_cold(const struct view *view)
{
    for (size_t i = 0; i < view->n_users; i++) {
        const struct account_secret *secret = &view->users[i].secret;
        if (secret->cold || secret->native_only || secret->sha2_only) {
            return true;
        }
    }
    return false;
}
