// CatalogBases: the catalog says which, the store has the bytes.
#include "cli/catalog_bases.h"

#include <fmt/format.h>

#include "builder/ami_image.h"
#include "catalog/catalog.h"
#include "cli/session.h"

namespace kiln::cli {

std::vector<store::Blob> CatalogBases::layers_of(const spec::App& app, const std::string& /*app_folder*/) {
  const auto* base = std::get_if<spec::ImageBase>(&app.image.base);
  if (base == nullptr) return {};
  try {
    ledger::Ledger ledger(context_.ledger_folder(), context_.clock, context_.actor());
    const catalog::Catalog catalog(ledger);
    catalog::Image image = catalog.find(base->reference);
    // First the lease, then the look: gc beside us sees the one, or we see what it wrote.
    leases_.emplace_back(store_, image.digest, "kiln bake " + app.name);
    image = catalog.find(image.name());
    if (image.standing == catalog::Standing::aside) require_deployable(image);
    if (const auto ami = builder::find_ami(store_, image.digest)) {
      throw Error(ErrorCode::not_found,
                  fmt::format("it was baked in an instance, and only AWS has its bytes ({})", ami->ami),
                  "Bake in an instance: kiln bake --in-instance");
    }
    const store::Image stored = store_.image(image.digest);
    store_.verify(stored);
    return stored.layers;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found && error.code() != ErrorCode::usage) throw;
    throw app.source.error(app.image.where,
                           fmt::format("the base '{}' is not to be had: {}", base->reference, error.message()),
                           error.next().empty() ? "kiln images lists what there is" : error.next());
  }
}

}  // namespace kiln::cli
