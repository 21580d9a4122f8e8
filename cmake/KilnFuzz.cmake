# kiln_fuzzer(NAME SOURCES ... DEPS room... [COVERS source...])
#
# A libFuzzer program `kiln_<name>_fuzz` over rooms, and the test `fuzz.<name>` (label fuzz) that runs it for ten seconds from
# the seeds in fuzz/corpus/<name>/ beside the caller, if there are any. What it finds is written into the build folder:
# crashes as <name>-crash-*, inputs that reach new code into <name>.corpus/. Nothing happens unless KILN_FUZZ is on; then the
# rooms in DEPS are built with the coverage that guides a fuzzer, or of them the sources in COVERS alone. It costs a quarter of
# the time to compile, so no test and no other room has it; fuzzers and tests under sanitizers are still one build.
if(KILN_FUZZ AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "KILN_FUZZ needs clang: use the preset 'asan', or -DCMAKE_CXX_COMPILER=clang++")
endif()

function(kiln_fuzzer name)
  if(NOT KILN_FUZZ)
    return()
  endif()
  cmake_parse_arguments(FUZZ "" "" "SOURCES;DEPS;COVERS" ${ARGN})
  set(target kiln_${name}_fuzz)
  add_executable(${target} ${FUZZ_SOURCES})
  target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  foreach(dep IN LISTS FUZZ_DEPS)
    target_link_libraries(${target} PRIVATE kiln_${dep})
    if(NOT FUZZ_COVERS)
      target_compile_options(kiln_${dep} PRIVATE -fsanitize=fuzzer-no-link)
    endif()
  endforeach()
  if(FUZZ_COVERS)
    set_source_files_properties(${FUZZ_COVERS} PROPERTIES COMPILE_OPTIONS -fsanitize=fuzzer-no-link)
  endif()
  if(NOT TARGET kiln_fuzzers)
    add_custom_target(kiln_fuzzers)
  endif()
  add_dependencies(kiln_fuzzers ${target})

  set(found ${CMAKE_CURRENT_BINARY_DIR}/${name}.corpus)
  file(MAKE_DIRECTORY ${found})
  set(seeds ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
  if(NOT EXISTS ${seeds})
    set(seeds)
  endif()
  add_test(NAME fuzz.${name} COMMAND ${target} -max_total_time=10 -timeout=5 -rss_limit_mb=2048 -print_final_stats=1
    -artifact_prefix=${CMAKE_CURRENT_BINARY_DIR}/${name}- ${found} ${seeds})
  set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
endfunction()
