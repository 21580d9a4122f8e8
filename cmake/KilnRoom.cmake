# kiln_room(NAME SOURCES ... [TESTS ...] [TEST_PARTS n] [DEPS room...] [LIBS target...])
#
# A room is a folder under src/, one static library `kiln_<name>`, and one test program `kiln_<name>_test` that holds the
# unit tests beside its sources. Its code may include its own headers and those of the rooms in DEPS, nothing else of ours:
# tools/check_edges.py fails the build on any other edge. LIBS are libraries from outside. Tests that take long run in
# TEST_PARTS parts side by side, `unit.<name>.<part>`, by GoogleTest's own sharding.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

function(kiln_room name)
  cmake_parse_arguments(ROOM "" "TEST_PARTS" "SOURCES;TESTS;DEPS;LIBS" ${ARGN})
  set(target kiln_${name})
  add_library(${target} STATIC ${ROOM_SOURCES})
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC kiln_options fmt::fmt ${ROOM_LIBS})
  foreach(dep IN LISTS ROOM_DEPS)
    target_link_libraries(${target} PUBLIC kiln_${dep})
  endforeach()

  set(stamp ${CMAKE_CURRENT_BINARY_DIR}/${name}.edges)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.h)
  set(own_sources ${ROOM_SOURCES} ${ROOM_TESTS})
  list(FILTER own_sources EXCLUDE REGEX "^/")
  list(TRANSFORM own_sources PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  add_custom_command(OUTPUT ${stamp}
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/check_edges.py ${name} ${CMAKE_CURRENT_SOURCE_DIR} ${ROOM_DEPS}
    COMMAND ${CMAKE_COMMAND} -E touch ${stamp}
    DEPENDS ${own_sources} ${headers} ${CMAKE_SOURCE_DIR}/tools/check_edges.py
    VERBATIM)
  add_custom_target(${target}_edges DEPENDS ${stamp})
  add_dependencies(${target} ${target}_edges)

  if(ROOM_TESTS)
    add_executable(${target}_test ${ROOM_TESTS})
    target_link_libraries(${target}_test PRIVATE ${target} GTest::gmock GTest::gtest GTest::gtest_main)
    target_compile_definitions(${target}_test PRIVATE KILN_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    if(ROOM_TEST_PARTS)
      math(EXPR last "${ROOM_TEST_PARTS} - 1")
      foreach(part RANGE ${last})
        add_test(NAME unit.${name}.${part} COMMAND ${target}_test --gtest_brief=1)
        set_tests_properties(unit.${name}.${part} PROPERTIES LABELS unit TIMEOUT 600
          ENVIRONMENT "GTEST_TOTAL_SHARDS=${ROOM_TEST_PARTS};GTEST_SHARD_INDEX=${part}")
      endforeach()
    else()
      add_test(NAME unit.${name} COMMAND ${target}_test)
      set_tests_properties(unit.${name} PROPERTIES LABELS unit TIMEOUT 300)
    endif()
  endif()
endfunction()

# kiln_real_test(NAME TIMEOUT SOURCES ... LIBS ... [BESIDE_OTHERS])
#
# A gtest program `kiln_<name>_real_test` and the test `e2e.<name>`: real machines, namespaces, HAProxy or bakes. It needs root
# and fails, not skips, without it. It has the machine for itself unless BESIDE_OTHERS says that it need not. It is not part
# of `all`; the target kiln_real_tests builds all of them.
add_custom_target(kiln_real_tests)
function(kiln_real_test name)
  cmake_parse_arguments(REAL "BESIDE_OTHERS" "TIMEOUT" "SOURCES;LIBS" ${ARGN})
  set(target kiln_${name}_real_test)
  add_executable(${target} EXCLUDE_FROM_ALL ${REAL_SOURCES})
  target_link_libraries(${target} PRIVATE ${REAL_LIBS})
  target_compile_definitions(${target} PRIVATE KILN_TEST_CACHE_DEFAULT="${CMAKE_BINARY_DIR}/test-cache")
  add_dependencies(kiln_real_tests ${target})
  add_test(NAME e2e.${name} COMMAND ${target})
  set_tests_properties(e2e.${name} PROPERTIES LABELS e2e TIMEOUT ${REAL_TIMEOUT})
  if(REAL_BESIDE_OTHERS)
    set_tests_properties(e2e.${name} PROPERTIES COST ${REAL_TIMEOUT})
  else()
    set_tests_properties(e2e.${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()
